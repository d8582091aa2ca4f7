import pytest
import torch

import unrolled as ur

SENTENCES = [["the", "dog", "barks"], [], ["unheard", "the"], ["é"]]


def small(**options):
    torch.manual_seed(0)
    words = ur.Vocabulary(["the", "dog", "barks"], unknown="?")
    characters = ur.Vocabulary("thedogbarksun", unknown="?")
    sizes = {"hidden_size": 5, "embedding_size": 4, "character_size": 3, **options}
    return ur.Tagger(words, characters, ["DET", "NOUN", "VERB"], **sizes).eval()


def by_hand(model, sentence):
    """The logits of one sentence, each word spelled alone."""
    rows = []
    for word in sentence:
        indices = model.characters.encode([list(word)]).indices
        _, state = model.spelling(model.character_embedding(indices))
        h = state if isinstance(state, torch.Tensor) else state[0]
        number = torch.tensor(model.vocabulary.index(word))
        rows.append(torch.cat([model.embedding(number), h[0, 0], h[1, 0]]))
    output, _ = model.layers(torch.stack(rows)[None])
    return model.head(output[0])


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_each_sentence_is_read_as_if_it_were_alone(cell):
    model = small(cell=cell)
    logits = model(model.read(SENTENCES))
    assert logits.shape == (4, 3, 3)
    predicted = model.predict(SENTENCES)
    for sentence, row, tags in zip(SENTENCES, logits, predicted, strict=True):
        assert len(tags) == len(sentence)
        if sentence:
            wanted = by_hand(model, sentence)
            torch.testing.assert_close(row[: len(sentence)], wanted, rtol=1e-5, atol=1e-6)
            assert tags == [model.tags[i] for i in wanted.argmax(-1).tolist()]


def test_it_is_saved_and_loaded_whole(tmp_path):
    model = small(num_layers=2)
    model.save(tmp_path)
    loaded = ur.Tagger.load(tmp_path)
    sentences = loaded.read(SENTENCES)
    torch.testing.assert_close(loaded(sentences), model(model.read(SENTENCES)), rtol=0, atol=0)
    assert loaded.characters == model.characters


def test_nothing_is_tagged_with_nothing():
    assert small().predict([]) == []
    assert small().predict([[], []]) == [[], []]
    with pytest.raises(TypeError, match="a sentence is one str"):
        small().predict(["the dog"])


@pytest.mark.parametrize(
    ("tags", "options", "message"),
    [
        (["A"], {}, "at least two different"),
        (["A", "B"], {"character_size": 0}, "character_size is 0"),
        (["A", "B"], {"embedding_size": 0}, "embedding_size is 0"),
    ],
)
def test_what_is_no_tagger_is_refused(tags, options, message):
    vocabulary = ur.Vocabulary(["a"], unknown="?")
    with pytest.raises(ur.Error, match=message):
        ur.Tagger(vocabulary, vocabulary, tags, **options)


@pytest.mark.parametrize(("key", "value"), [("tags", 3), ("character_size", "3"), ("characters", [])])
def test_a_spoilt_config_is_refused(tmp_path, key, value):
    from unrolled.models import folder

    small().save(tmp_path)
    config, weights = folder.read(tmp_path)
    folder.write(tmp_path, {**config, key: value}, weights, {})
    with pytest.raises(ur.Error):
        ur.Tagger.load(tmp_path)
