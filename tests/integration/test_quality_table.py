"""The quality table of README and model card says what the model does today."""

from __future__ import annotations

import pytest

from benchmarks.quality import BEGIN, END, FILES, differences, measured_text, text_in, with_text


@pytest.mark.timeout(900)
def test_the_table_of_every_file_is_current() -> None:
    measured = measured_text()
    assert "BM25" in measured
    assert measured.count("0.") > 20
    wrong = {file.parent.name: differences(text_in(file.read_text("utf-8")), measured) for file in FILES}
    assert not any(wrong.values()), wrong


@pytest.mark.parametrize(
    ("written", "wrong"),
    [
        ("| a | 0.930 |\n", 0),
        ("| a | 0.935 |\n", 0),
        ("| a | 0.945 |\n", 1),
        ("| a | 0.970 |\n", 1),
        ("| b | 0.930 |\n", 1),
        ("| a | 0.930 |\n| c | 0.1 |\n", 1),
        ("", 1),
    ],
    ids=["same", "near", "all figures", "other figure", "other words", "more", "nothing"],
)
def test_a_table_that_is_not_current_is_found(written: str, wrong: int) -> None:
    assert len(differences(written, "| a | 0.930 |\n")) == wrong


def test_one_question_of_31_may_be_answered_otherwise() -> None:
    measured = "| a | " + " | ".join(["0.930"] * 12) + " |\n"
    assert not differences(measured.replace("0.930", "0.962", 1), measured)
    assert len(differences(measured.replace("0.930", "0.967", 1), measured)) == 1
    assert len(differences(measured.replace("0.930", "0.962", 3), measured)) == 1


def test_only_what_stands_between_the_marks_is_replaced() -> None:
    content = f"before\n\n{BEGIN}old\n{END}\nafter\n"
    assert text_in(content) == "old\n"
    assert with_text(content, "new\n") == f"before\n\n{BEGIN}new\n{END}\nafter\n"
    assert with_text(f"a\n\n{BEGIN}{END}b\n", "new\n") == f"a\n\n{BEGIN}new\n{END}b\n"
    with pytest.raises(SystemExit, match="no marks"):
        text_in("no marks at all")
