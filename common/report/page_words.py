"""The words of :mod:`common.report.page`, in the languages of :mod:`common.report.style`."""

WORDS = {
    "title": ("Network in Network: {0}", "Ağ İçinde Ağ: {0}"),
    "heading": ("Network in Network: runs side by side", "Ağ İçinde Ağ: eğitimler yan yana"),
    "skip": ("Skip to the content", "İçeriğe geç"),
    "contents": ("Contents", "İçindekiler"),
    "made": (
        "Made by scripts/report.py from what the runs recorded.",
        "scripts/report.py tarafından, eğitimlerin kayıtlarından oluşturuldu.",
    ),
    "problems": ("What could not be read", "Okunamayanlar"),
    "left_out": ("Everything else is shown.", "Geri kalan her şey aşağıda."),
    "book": ("the book", "kitap"),
    "book_of": ("the book, {0}", "kitap, {0}"),
    # ----------------------------------------------------------------- results
    "results": ("Results", "Sonuçlar"),
    "results_caption": (
        "At the end of each run, and what the book prints",
        "Her eğitimin sonundaki değerler ve kitapta yazanlar",
    ),
    "results_about": (
        "The book's rows are one run each, on a GPU, with its own settings: 224×224 pixels, 10 "
        "epochs. A run's accuracy compares with them only as far as its data and settings are the "
        "book's: the settings that are not are listed below.",
        "Kitabın satırları, kendi ayarlarıyla bir GPU'da yapılmış birer eğitimdir: 224×224 piksel,"
        " 10 dönem. Bir eğitimin doğruluğu onlarla ancak verileri ve ayarları kitabınkilerle aynı "
        "olduğu ölçüde karşılaştırılabilir; farklı olan ayarlar aşağıdadır.",
    ),
    # columns; others are called as settings are
    "data": ("training images", "eğitim imgeleri"), "loss": ("loss", "kayıp"),
    "train": ("train acc", "eğitim doğruluğu"), "test": ("test acc", "test doğruluğu"),
    "rate": ("examples/s", "örnek/sn"), "state": ("state", "durum"),
    "on_validation": ("{0} (validation)", "{0} (geçerleme)"),
    "complete": ("complete", "tamamlandı"),
    "stopped": ("stopped early", "yarıda durduruldu"),
    "unfinished": ("not finished", "bitmedi"),
    "diverged": ("diverged", "ıraksadı"),
    "own": ("by hand", "elle kurulmuş"),
    "notes": ("Notes", "Notlar"),
    # ---------------------------------------------------------------- settings
    "differing": ("Settings that differ", "Farklı ayarlar"),
    "settings_caption": (
        "Settings that are not the same in every run and in the book",
        "Eğitimler arasında ya da kitaba göre farklı olan ayarlar",
    ),
    "no_differences": (
        "Every run has the book's settings.",
        "Bütün eğitimlerin ayarları kitabınkilerle aynı.",
    ),
    "differs": ("Bold: not the book's.", "Kalın yazılanlar kitaptakinden farklıdır."),
    "same": ("As in the book, in every run: {0}.", "Bütün eğitimlerde kitaptaki gibi: {0}."),
    "yes": ("yes", "evet"),
    "no": ("no", "hayır"),
    "none": ("none", "yok"),
    "per_core": ("one per core", "her çekirdeğe bir"),
    # by their own names
    "backend": ("framework", "çerçeve"), "preset": ("preset", "ön ayar"),
    "epochs": ("epochs", "dönem"), "lr": ("learning rate", "öğrenme oranı"),
    "batch_size": ("batch size", "minigrup boyutu"), "resize": ("pixels", "piksel"),
    "optimizer": ("optimizer", "eniyileyici"), "momentum": ("momentum", "momentum"),
    "weight_decay": ("weight decay", "ağırlık sönümü"),
    "schedule": ("schedule", "öğrenme oranı zamanlaması"),
    "init": ("initial weights", "ilk ağırlıklar"), "last_block": ("last block", "son blok"),
    "network": ("network", "ağ"), "dropout": ("dropout", "hattan düşürme"),
    "label_smoothing": ("label smoothing", "etiket yumuşatma"), "shift": ("shift", "kaydırma"),
    "flip": ("flip", "aynalama"), "seed": ("seed", "rastgele tohum"),
    "limit": ("limit of examples", "örnek sınırı"),
    "validation": ("validation examples", "geçerleme örneği"), "device": ("device", "cihaz"),
    "precision": ("precision", "hassasiyet"), "threads": ("threads", "iş parçacığı"),
    # ------------------------------------------------------------------ curves
    "curves": ("Curves", "Eğriler"),
    "loss_curve": ("Training loss", "Eğitim kaybı"),
    "train_curve": ("Training accuracy", "Eğitim doğruluğu"),
    "test_curve": ("Test accuracy", "Test doğruluğu"),
    "validation_curve": ("Validation accuracy", "Geçerleme doğruluğu"),
    "mixed_curve": ("Test or validation accuracy", "Test ya da geçerleme doğruluğu"),
    "epoch": ("epoch", "dönem"),
    "of_runs": ("{0} over the epochs; at the end {1}", "Dönemler boyunca {0}; sonunda {1}"),
    "key": ("Which line is which run", "Hangi çizgi hangi eğitimin"),
    "no_curves": ("No run has finished an epoch.", "Henüz bir dönemi bitirmiş eğitim yok."),
    "numbers": ("The numbers of the curves", "Eğrilerin sayıları"),
    "numbers_caption": (
        "Loss and accuracies after each epoch",
        "Her dönemden sonra kayıp ve doğruluklar",
    ),
    # -------------------------------------------------------------- shape walk
    "walk": ("Shape walk", "Çıktı şekilleri"),
    "walk_about": (
        "On paper, for one image: channels × height × width.",
        "Çalıştırmadan hesaplandı, bir imge için: kanal × yükseklik × genişlik.",
    ),
    "walk_caption": ("Output of each layer: {0}", "Her katmanın çıktısı: {0}"),
    "layer": ("layer", "katman"), "of_classes": ("{0} class(es)", "{0} sınıf"),
    "by_hand": (
        "A network built by hand is not known on paper: {0}.",
        "Elle kurulmuş ağlar için çalıştırmadan hesaplanamaz: {0}.",
    ),
    # -------------------------------------------------------------------- cost
    "cost": ("Cost", "Maliyet"),
    "cost_about": (
        "Computed on paper, for ten classes where no other number is given: multiply-adds of one "
        "image forward, memory of one step at the run's batch size, precision and optimizer. The "
        "book's other networks for comparison.",
        "Çalıştırmadan, sınıf sayısı yazılmadıkça on sınıf için hesaplandı: bir imgenin ileri "
        "yaymadaki çarpma-toplama sayısı; eğitimin minigrup boyutu, hassasiyeti ve "
        "eniyileyicisiyle bir adımda gereken bellek. Karşılaştırma için kitabın diğer ağları da "
        "yer alır.",
    ),
    "cost_caption": ("What the networks cost", "Ağların maliyeti"),
    "runs": ("runs", "eğitimler"), "step": ("a step", "bir adım"),
    "parameters": ("parameters", "parametre"), "multiply_adds": ("multiply-adds", "çarpma-toplama"),
    "training": ("memory, training", "bellek, eğitim"),
    "prediction": ("memory, prediction", "bellek, tahmin"),
    # ------------------------------------------------------------- predictions
    "predictions": ("Predictions", "Tahminler"),
    "how_to_predict": (
        "Confusion matrices and sample predictions are computed from a run's weights, with a "
        "framework: {0}.",
        "Hata matrisleri ve örnek tahminler, bir eğitimin ağırlıklarından bir çerçeveyle "
        "hesaplanır: {0}.",
    ),
    "confusion_caption": (
        "{0}: predictions in % of each true class; {1} of {2} image(s) right, accuracy {3}",
        "{0}: her gerçek sınıfın yüzdesi olarak tahminler; {2} imgenin {1} tanesi doğru, doğruluk "
        "{3}",
    ),
    "true": ("true class", "gerçek sınıf"),
    "samples": ("{0}: the first images", "{0}: ilk imgeler"),
    "wrong": (
        "{0}: the wrong answers that it is most confident of",
        "{0}: en emin olduğu yanlış tahminler",
    ),
    "right_alt": ("{0}: {1}, recognised", "{0}: {1}, doğru tanındı"),
    "wrong_alt": ("{0}: {1}, taken for {2}", "{0}: {1}, {2} sanıldı"),
    "is": ("is: {0}", "doğrusu: {0}"),
    "wrong_mark": ("wrong", "yanlış"),
    # ------------------------------------------------------------------- bench
    "bench": ("Speed", "Hız"),
    # ---------------------------------------------------------------- versions
    "versions": ("Versions and machines", "Sürümler ve makineler"),
    "versions_caption": ("With what each run was made", "Her eğitimin neyle yapıldığı"),
    "started": ("started", "başlangıç"), "processor": ("processor", "işlemci"),
    "cores": ("cores", "çekirdek"), "memory_gib": ("memory, GiB", "bellek, GiB"),
    "system": ("system", "sistem"), "git_commit": ("git commit", "git commit'i"),
    "commands": ("The commands", "Komutlar"),
}  # fmt: skip
# what :mod:`common.bench.results` calls its tables and columns
BENCH_IN_TURKISH = {
    "size": "piksel", "backend": "çerçeve", "training": "eğitim",
    "prediction, memory and start": "tahmin, bellek ve başlangıç",
    "against d2l": "d2l ile karşılaştırma",
    "whole runs of train.py --preset fast": "train.py --preset fast, baştan sona",
    "several workers": "birden çok işçi", "workers": "işçi", "threads": "iş parçacığı",
    "batch": "minigrup boyutu", "examples/s": "örnek/sn",
    "times one worker": "bir işçinin kaç katı", "efficiency": "verim",
    "bare step, examples/s": "yalın adım, örnek/sn",
    "bare step / fastest": "yalın adım / en hızlısı", "bare step / limit": "yalın adım / sınır",
    "train.py, examples/s": "train.py, örnek/sn", "train.py / bare step": "train.py / yalın adım",
    "epoch of train.py / parts": "train.py'nin bir dönemi / parçaları",
    "prediction, images/s": "tahmin, imge/sn", "one image, ms": "bir imge, ms",
    "peak memory, GiB": "en yüksek bellek, GiB",
    "start to first step, s": "başlangıçtan ilk adıma, sn", "d2l, examples/s": "d2l, örnek/sn",
    "beside d2l, examples/s": "d2l ile yan yana, örnek/sn",
    "times as fast as d2l": "hız, d2l'nin kaç katı",
    "d2l, peak memory, GiB": "d2l, en yüksek bellek, GiB",
    "beside d2l, peak memory, GiB": "d2l ile yan yana, en yüksek bellek, GiB",
    "recipe": "ayar takımı", "precision": "hassasiyet", "examples": "örnek", "seeds": "tohum",
    "mean accuracy": "ortalama doğruluk", "worst": "en kötüsü", "mean seconds": "ortalama sn",
    "longest": "en uzunu",
}  # fmt: skip
