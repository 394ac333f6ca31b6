import pytest

from common.errors import NinError
from common.terminal.command_line import Parser, execute


@pytest.fixture
def parser():
    p = Parser("A command.")
    p.add_argument("source")
    p.add_argument("--batch-size")
    p.add_argument("--backends")
    p.add_argument("--from", dest="origin")
    p.add_argument("--flip", action="store_true")
    return p


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("`batch_size=0`: must be 1", "--batch-size 0: must be 1"),
        ("take a smaller `batch_size`", "take a smaller --batch-size"),
        ("`origin=h5`: unknown", "--from h5: unknown"),
        ("`flip=True`: no", "--flip: no"),
        # an option for several stands for each of them
        ("`backend=jax`: unknown", "--backends jax: unknown"),
        # never an option that this command does not have
        ("`resize=20`: too small", "resize=20: too small"),
        ("`source=x`: bad", "source=x: bad"),
        ("two\n lines", "two lines"),
        ("", "NinError"),
    ],
)
def test_an_error_is_one_line_with_the_commands_own_options(parser, capsys, message, line):
    def command(options):
        raise NinError(message)

    assert execute(command, parser, ["x"]) == 2
    assert capsys.readouterr().err == f"error: {line}\n"


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("--lr=0,05", "invalid float value: '0,05'; did you mean 0.05?; --help"),
        ("--lr=1.000,5", "invalid float value: '1.000,5'; --help"),
        ("--limit=2.000", "expected a whole number, not '2.000'; did you mean 2000?; --help"),
        ("--limit=1,000,000", "not '1,000,000'; did you mean 1000000?; --help"),
        ("--limit=2.5", "expected a whole number, not '2.5'; --help"),
        ("--limit=ten", "expected a whole number, not 'ten'; --help"),
    ],
)
def test_a_number_as_other_languages_write_it_is_shown_as_it_must_be(parser, capsys, option, line):
    parser.add_argument("--lr", type=float)
    parser.add_argument("--limit", type=int)
    with pytest.raises(SystemExit):
        parser.parse_args(["x", option])
    assert line in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("~/a", "/home/me/a"),
        ("~", "/home/me"),
        ("torch=~/bin/python", "torch=/home/me/bin/python"),
        ("torch,~/nin.py", "torch,/home/me/nin.py"),
        ("a~/b", "a~/b"),
        ("~no-such-user/a", "~no-such-user/a"),
    ],
)
def test_a_home_directory_is_expanded_in_every_option(parser, monkeypatch, argument, value):
    monkeypatch.setenv("HOME", "/home/me")
    seen = []
    arguments = [argument, "--batch-size", argument, f"--backends={argument}"]
    execute(lambda options: seen.append(vars(options)) or 0, parser, arguments)
    assert (seen[0]["source"], seen[0]["batch_size"], seen[0]["backends"]) == (value,) * 3


@pytest.mark.parametrize("error", [OSError("`source`"), MemoryError(), MemoryError("`source`")])
def test_the_text_of_other_errors_is_left_as_it_is(parser, capsys, error):
    def command(options):
        raise error

    assert execute(command, parser, ["x"]) == 2
    assert capsys.readouterr().err == f"error: {error or 'MemoryError'}\n".replace(
        "error: \n", "error: MemoryError\n"
    )
