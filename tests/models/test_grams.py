import pytest
import torch

import unrolled as ur
from unrolled.models.grams import BUCKETS, MODULUS, MULTIPLIER, VOTES, GramEmbedding, GramVotes


def hashes_by_hand(row, order):
    """Of each place the n-grams that end there, counted in Python, the shortest first."""
    made = []
    for t in range(len(row)):
        hashed = [row[t] + 1]
        for k in range(1, order):
            hashed.append((hashed[-1] * MULTIPLIER + (row[t - k] + 1 if t >= k else 0)) % MODULUS)
        made.append(hashed)
    return made


def rows_by_hand(symbols, row, order):
    """For each place its symbol, and the buckets of the n-grams that end there."""
    pairs = zip(row, hashes_by_hand(row, order), strict=True)
    return [[i, *(symbols + h % BUCKETS for h in hashed[1:])] for i, hashed in pairs]


@pytest.mark.parametrize("order", [2, 3, 5])
def test_a_place_is_the_sum_of_its_n_grams(order):
    embedding = GramEmbedding(70000, 3, order).double()
    indices = torch.randint(70000, (4, 3), generator=torch.Generator().manual_seed(0))
    wanted = torch.tensor([rows_by_hand(70000, row, order) for row in indices.tolist()])
    assert torch.equal(embedding.rows(indices), wanted)
    table = embedding.weight.detach()
    summed = torch.stack([sum(table[i] for i in place) for row in wanted for place in row]).view(4, 3, 3)
    torch.testing.assert_close(embedding(indices), summed)
    assert embedding(indices[:, :0]).shape == (4, 0, 3)


def test_every_gradient():
    embedding = GramEmbedding(4, 2, 3).double()
    indices = torch.tensor([[0, 1, 0, 1], [3, 3, 3, 3]])
    few = embedding.rows(indices).unique()

    def of(values):
        whole = embedding.weight.detach().index_copy(0, few, values)
        return torch.func.functional_call(embedding, {"weight": whole}, (indices,))

    assert torch.autograd.gradcheck(of, (embedding.weight.detach()[few].requires_grad_(),))


@pytest.mark.parametrize(("labels", "rows"), [(2, 1 << 19), (3, 1 << 18), (VOTES * 2, 1)])
def test_votes_have_so_many_rows(labels, rows):
    with torch.device("meta"):
        assert GramVotes(labels, 2).weight.shape == (rows, labels)


def test_a_text_has_the_votes_of_its_n_grams():
    votes = GramVotes(3, 4).double()
    with torch.no_grad():
        votes.weight.copy_(torch.randn(votes.weight.shape, generator=torch.Generator().manual_seed(0)))
    lengths = torch.tensor([6, 0, 1])
    indices = torch.tensor([[5, 1, 7, 7, 0, 2], [1, 1, 1, 1, 1, 1], [3, 9, 9, 9, 9, 9]])
    wanted = torch.zeros(3, 3, dtype=torch.float64)
    for i, (row, length) in enumerate(zip(indices.tolist(), lengths.tolist(), strict=True)):
        for hashed in hashes_by_hand(row[:length], 4):
            wanted[i] += sum(votes.weight[h % len(votes.weight)] for h in hashed) / (4 * length) ** 0.5
    torch.testing.assert_close(votes(indices, lengths), wanted)
    assert torch.equal(votes(indices[:, :0], lengths * 0), torch.zeros(3, 3, dtype=torch.float64))


def test_what_follows_a_place_does_not_change_it():
    embedding = GramEmbedding(9, 2, 4)
    row = torch.tensor([[1, 2, 3, 4, 5, 6]])
    assert torch.equal(embedding(row)[:, :3], embedding(row[:, :3]))


def test_n_grams_are_learnt_that_single_symbols_cannot_tell():
    """Whether "ab" occurs in a bag of symbols: with a recurrence that forgets at once, by bigrams alone."""
    torch.manual_seed(0)
    vocabulary = ur.Vocabulary("ab")
    texts = [f"{i:012b}".replace("0", "a").replace("1", "b") for i in range(1, 4096, 7)]
    targets = torch.tensor([int("abab" in text) for text in texts])
    accuracy = {}
    for grams in (1, 4):
        model = ur.Classifier(
            vocabulary, ["no", "yes"], "min_gru", 8, embedding_size=4, bidirectional=False, grams=grams
        )
        with torch.no_grad():  # the gate that lets the past in stays shut
            model.layers.bias_ih_l0[:8] = 30.0
        optimizer = torch.optim.Adam([*model.embedding.parameters(), *model.head.parameters()], 0.05)
        batch = vocabulary.encode(texts)
        for _ in range(60):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(batch), targets).backward()
            optimizer.step()
        accuracy[grams] = float((model(batch).argmax(-1) == targets).float().mean())
    assert accuracy[4] > 0.99
    assert accuracy[1] < 0.9
