"""Both forms of `make bench`, with and without IDX, start every benchmark."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

import pytest

BENCHMARKS = sorted(path.stem for path in Path(__file__).parent.glob("bench_*.py"))


class Parsed(Exception):  # noqa: N818 (not an error)
    """The arguments were accepted."""


@pytest.mark.parametrize("arguments", [[], ["--idx", "DIR"]], ids=["plain", "idx"])
@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_a_benchmark_takes_the_folder_and_requires_nothing(monkeypatch, benchmark, arguments):
    parse_args = argparse.ArgumentParser.parse_args

    def stop_after(*given):
        raise Parsed(parse_args(*given).idx)

    main = importlib.import_module(f"tests.benchmarks.{benchmark}").main
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop_after)
    monkeypatch.setattr(sys, "argv", [benchmark, *arguments])
    with pytest.raises(Parsed) as parsed:  # a refusal is SystemExit
        main()
    assert str(parsed.value.args[0]) == (arguments[1] if arguments else "None")
