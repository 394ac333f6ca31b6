"""What is printed arrives whole."""

from rich.table import Table

from common.terminal import tables


def test_a_table_on_a_narrow_terminal_loses_no_digit(capsys):
    table = Table()
    for name in "abcdef":
        table.add_column(name, no_wrap=True)
    table.add_row(*["1,234,567,890"] * 6)
    tables.show([table], width=30)
    assert capsys.readouterr().out.count("1,234,567,890") == 6
