"""What data, runs and benchmarks record in English, translated for Turkish pictures and pages.

A number in braces stands for a part that varies; a test checks that each line is still in use.
Whole sentences come before lines that are part of others.
"""

TURKISH = {
    # ------------------------------------------------------------------ of data
    "On the embedded sample of Fashion-MNIST: {0} training and {1} test image(s) of {2} and {3}.":
        "Fashion-MNIST'in projeyle birlikte gelen bölümü kullanıldı: {2} eğitim imgesinin {0} "
        "tanesi, {3} test imgesinin {1} tanesi.",
    # the reason is an error message, which is for whoever loads the data
    " The full set was not available ({0}).": " Veri kümesinin tamamına ulaşılamadı.",
    "On {0}, not the published Fashion-MNIST files: {1} training and {2} test image(s).":
        "Yayımlanan Fashion-MNIST dosyaları değil, {0} kullanıldı: {1} eğitim, {2} test imgesi.",
    "On data that are not the published Fashion-MNIST files.":
        "Yayımlanan Fashion-MNIST dosyalarından başka veriler kullanıldı.",
    "Files passed over, as no images of a class: {0}, such as {1}.":
        "Hiçbir sınıfın imgesi olmadığı için atlanan dosya sayısı: {0}; örneğin {1}.",
    "Not used: {0}; the test images are those of {1}.":
        "Kullanılmayanlar: {0}; test imgeleri {1} bölümünden alındı.",
    "The data set names no classes; the network's names are used.":
        "Veri kümesinde sınıf adları yok; ağın sınıf adları kullanıldı.",
    "Every {0}th image of each class is a test image.":
        "Her sınıfta her {0} imgeden biri test imgesidir.",
    "The {0} classes are those that its labels name, {1} to {2}.":
        "Sınıflar etiketlerden belirlendi: {0} sınıf, {1}–{2}.",
    "The {0} classes are those that its labels name, ":
        "Sınıflar etiketlerden belirlendi: {0} sınıf, ",
    "A subset: {0} of {1} training and {2} of {3} test image(s).":
        "Bir alt küme: {1} eğitim imgesinin {0} tanesi, {3} test imgesinin {2} tanesi.",
    "A subset: {0} of {1} training and {2} of {3} validation image(s).":
        "Bir alt küme: {1} eğitim imgesinin {0} tanesi, {3} geçerleme imgesinin {2} tanesi.",
    "Trained without {0} of {1} training image(s), on which accuracy is measured.":
        "{1} eğitim imgesinin {0} tanesi eğitimden ayrıldı; doğruluk bunlarla ölçülür.",
    "The network's training: ": "Ağın eğitimi: ",
    "Trained on its validation images too.": "Geçerleme imgeleriyle de eğitildi.",
    # ------------------------------------------------------------------ of runs
    "training diverged at epoch {0}, step {1}: ": "eğitim ıraksadı ({0}. dönem, {1}. adım): ",
    "training diverged in the evaluation of epoch {0}: ":
        "eğitim ıraksadı ({0}. dönemin değerlendirmesi): ",
    "epoch {0}, step {1}: ": "{0}. dönem, {1}. adım: ",
    "the loss sits at ln({0}) = {1} because the network is dead: on {2} training image(s) 100 % of "
    "the logits are exactly 0 (the last block ends in a ReLU), so that no gradient flows":
        "kayıp ln({0}) = {1} değerinde takılı kaldı, çünkü ağ ölü: {2} eğitim imgesinde logitlerin "
        "%100'ü tam olarak 0 (son blok bir ReLU ile biter), bu yüzden gradyan akmıyor",
    "; the first layer with no living channel is ": "; canlı kanalı kalmamış ilk katman: ",
    "the loss sits at ln({0}) = {1}: the network gives nearly the same output for every image, but "
    "it is alive: on {2} training image(s) {3} % of the logits are exactly 0":
        "kayıp ln({0}) = {1} değerinde takılı kaldı: ağ her imgeye neredeyse aynı çıktıyı veriyor, "
        "ama canlı: {2} eğitim imgesinde tam olarak 0 olan logitlerin oranı %{3}",
    ", and in {0}, the worst layer, {1} % of the channels are dead":
        "; en kötü katman olan {0} katmanında ölü kanalların oranı %{1}",
    " It may still start to learn.": " Yine de öğrenmeye başlayabilir.",
    "What helps: ": "İşe yarayabilecekler: ",
    "what helps is to train it anew: with another seed or a lower lr, or, if it had neither, with "
    "init=data and last_block=identity, as preset=fast has them":
        "yeniden eğitmek işe yarar: başka bir seed ya da daha düşük bir lr ile; henüz "
        "kullanılmadıysa, preset=fast ayarındaki gibi init=data ve last_block=identity ile",
    "or preset=fast, which has all that keeps the network alive":
        "ya da ağı canlı tutan her şeyi içeren preset=fast",
    "; try a lower lr": "; daha düşük bir lr deneyin",
    "a lower lr": "daha düşük bir lr",
    "another seed": "başka bir seed",
    "the loss is not finite ({0})": "kayıp sonlu değil ({0})",
    "a logit is not finite": "bir logit sonlu değil",
    " is not finite": " sonlu değil",
    "the optimizer's state": "eniyileyicinin durumu",
    "out of memory": "bellek yetmedi",
    "the {0} of memory may not suffice": "{0} bellek yetmeyebilir",
    " (a step of {0} takes about {1} besides the program":
        " ({0} örneklik bir adım, programın kendisi dışında yaklaşık {1} ister",
    ", of batch_size={0} ": ", batch_size={0} ile ",
    "Network built by hand": "Elle kurulmuş ağ",
    "a network of your own starts with init=he instead of data":
        "kendi kurduğunuz ağ, data yerine init=he ile başlar",
    "the last block starts at random: ": "son blok rastgele ağırlıklarla başlar: ",
    "the network ends in {0}, not in a block": "ağın sonu {0}, bir blok değil",
    " is no 1x1 convolution with as many outputs as inputs":
        ", girdisi kadar çıktısı olan bir 1x1 evrişim değil",
    " has no bias": " katmanının ek girdisi yok",
    "the network keeps its dropout of {0}; the preset's is ":
        "ağın kendi hattan düşürme oranı ({0}) geçerlidir; ön ayarınki: ",
    "resumed with a network of other layers (or of another release of the framework)":
        "başka katmanlı bir ağla (ya da çerçevenin başka bir sürümüyle) sürdürüldü",
    "resumed with {0}: not bit for bit what it would have been":
        "değişen koşullarla sürdürüldü ({0}): kesintisiz bir eğitimin sonucuyla bit bit aynı değil",
    " instead of ": "; önceden ",
    "no more events for TensorBoard (": "TensorBoard'a artık yazılamıyor (",
    "the curves could not be drawn (": "eğriler çizilemedi (",
    "; going on from the one before, at epoch {0}, step ":
        "; bir öncekinden sürdürülüyor, {0}. dönem, adım ",
    # ----------------------------------------------------------- of predictions
    "the network tells nothing apart: ": "ağ hiçbir şeyi ayırt etmiyor: ",
    "for every image all {0} logits are exactly 0": "her imge için {0} logitin hepsi tam olarak 0",
    "for every image all {0} logits are the same number":
        "her imge için {0} logitin hepsi aynı sayı",
    "all {0} images have the same logits": "{0} imgenin hepsinin logitleri aynı",
    " dead class(es): ": " ölü sınıf: ",
    "; its logit is 0 for all {0} images, so that it can hardly ever be predicted and no gradient "
    "flows there":
        "; logiti {0} imgenin hepsinde 0; bu yüzden neredeyse hiç tahmin edilemez ve oraya gradyan "
        "akmaz",
    "; their logits are 0 for all {0} images, so that they can hardly ever be predicted and no "
    "gradient flows there":
        "; logitleri {0} imgenin hepsinde 0; bu yüzden neredeyse hiç tahmin edilemezler ve oraya "
        "gradyan akmaz",
    # --------------------------------------------------------------- of benches
    " core(s), {0} GiB": " çekirdek, {0} GiB",
    "threads {0}": "iş parçacığı {0}",
    "allocator ": "bellek ayırıcı ",
    "keeps freed memory": "boşalan belleği tutar",
    " device ": " cihaz ",
    "batch {0}, float32; rounds: {1}; medians ± half the range":
        "minigrup boyutu {0}, float32; tur: {1}; ortanca ± aralığın yarısı",
    "a quick bench: at most two digits are meaningful":
        "hızlı ölçüm: en çok iki basamak anlamlıdır",
    "left out: ": "atlandı: ",
    # --------------------------------------------------------------- default names
    "train {0}": "eğitim {0}",
    "class {0}": "sınıf {0}",
}  # fmt: skip
