import xml.etree.ElementTree as ET

from bench.figures import Table
from bench.plot import svg


def test_the_plot_is_well_formed_and_longer_bars_are_larger_figures() -> None:
    table = Table("peak", "Peak <of all>", {"rate": "req/s"})
    table.add("nginx & rules", "rate", 800)
    table.add("aupgate", "rate", 9_000)
    table.miss("other", "it is not installed")
    bars = ET.fromstring(svg([table])).findall("{http://www.w3.org/2000/svg}rect")
    assert [bar.get("class") for bar in bars] == ["other", "own"]
    assert float(bars[0].get("width", 0)) < float(bars[1].get("width", 0))


def test_a_table_without_figures_has_no_panel() -> None:
    table = Table("peak", "Peak", {"rate": "req/s"})
    table.miss("aupgate", "it is not installed")
    assert "Peak" not in svg([table])
