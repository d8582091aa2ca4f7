"""Sentences of words and tags."""

import gzip

import pytest

import unrolled as ur
from unrolled.text.tagged import read_sentences

CONLLU = (
    "# text = Don't stop\n"
    "1-2\tDon't\t_\t_\t_\t_\t_\t_\t_\t_\n"
    "1\tDo\tdo\tAUX\tVB\t_\t3\taux\t_\t_\n"
    "2\tn't\tnot\tPART\tRB\t_\t3\tadvmod\t_\t_\n"
    "2.1\tyou\tyou\tPRON\tPRP\t_\t_\t_\t3:nsubj\t_\n"
    "3\tstop\tstop\tVERB\tVB\t_\t0\troot\t_\t_\n"
    "\n"
    "# a comment of its own\n"
    "\n"
    "1\t20 000\t20 000\tNUM\tCD\t_\t0\troot\t_\t_\n"
)


def test_conllu_gives_syntactic_words_with_the_tag_asked_for(tmp_path):
    (tmp_path / "a.conllu").write_text(CONLLU)
    (tmp_path / "a.conllu.gz").write_bytes(gzip.compress(CONLLU.replace("\n", "\r\n").encode()))
    for name in ("a.conllu", "a.conllu.gz"):
        first, second = read_sentences(tmp_path / name)
        assert first.words == ("Do", "n't", "stop")
        assert first.tags == ("AUX", "PART", "VERB")
        assert second == (("20 000",), ("NUM",))
        assert read_sentences(tmp_path / name, "XPOS")[0].tags == ("VB", "RB", "VB")


def test_two_columns_with_empty_lines_between_sentences(tmp_path):
    (tmp_path / "a.txt").write_text("나는 NP\n간다\tVV\n\n\n#\tSYM\nEU NNP I-NP B-ORG\n")
    assert read_sentences(tmp_path / "a.txt") == [
        (("나는", "간다"), ("NP", "VV")),
        (("#", "EU"), ("SYM", "B-ORG")),
    ]


@pytest.mark.parametrize(
    ("name", "content", "tag", "message"),
    [
        ("a.conllu", CONLLU, "POS", "'POS' is not a column of CoNLL-U; wanted one of ID, FORM"),
        ("a.conllu", "1\tword\n", "UPOS", "line 1: 2 columns; wanted the 10 of CoNLL-U"),
        ("a.conllu", CONLLU.replace("3\tstop", "x\tstop"), "UPOS", "line 6: ID is 'x'; wanted a number"),
        ("a.conllu", "# only a comment\n\n", "UPOS", "has no sentences"),
        ("a.txt", "", "UPOS", "has no sentences"),
        ("a.txt", "word TAG\nlonely\n", "UPOS", "line 2: 'lonely' is not a word and its tag"),
        ("a.txt", "word\t\n", "UPOS", "line 1: .* is not a word and its tag"),
    ],
)
def test_what_is_not_tagged_text_is_refused(tmp_path, name, content, tag, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ur.Error, match=message):
        read_sentences(tmp_path / name, tag)


def test_the_english_web_treebank(data):
    sentences = read_sentences(data / "ud_english_ewt" / "en_ewt-ud-dev.conllu.gz")
    assert len(sentences) == 2001
    assert sentences[0].words[:4] == ("From", "the", "AP", "comes")
    assert sentences[0].tags[:4] == ("ADP", "DET", "PROPN", "VERB")
    assert len({tag for s in sentences for tag in s.tags}) == 17
