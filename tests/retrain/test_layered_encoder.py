"""The encoder computed layer by layer against the SavedModel that it was built from."""

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from schemas.train_recipe import Pooling
from tasks import bert
from tasks.pooling import text_vector
from tasks.retrain.encoder import load_encoder
from tasks.retrain.examples import read_examples
from tasks.retrain.layered_encoder import LayeredEncoder, UpperLayers
from tasks.retrain.plan import Plan
from tasks.retrain.tensorflow_setup import start_tensorflow
from tests.retrain.small_inputs import FACTS, LAYERS, WIDTH, recipe

POOLINGS = get_args(Pooling)


@pytest.fixture(scope="module")
def features(tokens: Path) -> Any:
    """Texts of several lengths, padded to the longest."""
    inputs = read_examples(tokens, "test").inputs
    rows = np.argsort(inputs.lengths, kind="stable")[:: len(inputs.lengths) // 8]
    batch: Any = inputs.batch(rows)
    assert len(set(batch["input_mask"].sum(axis=1))) > 3
    return batch


@pytest.fixture(scope="module")
def saved(model: Path, features: Any) -> dict[str, Any]:
    tf = start_tensorflow()
    outputs: dict[str, Any] = tf.saved_model.load(str(model / "encoder"))(features, training=False)
    return outputs


@pytest.fixture(scope="module")
def saved_three(three_layers: Path, features: Any) -> dict[str, Any]:
    tf = start_tensorflow()
    outputs: dict[str, Any] = tf.saved_model.load(str(three_layers / "encoder"))(features, training=False)
    return outputs


def load(model: Path, plan: Plan, **settings: Any) -> Any:
    start_tensorflow()
    return load_encoder(model, FACTS, recipe(**settings), plan)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("kind", ["model", "saved_model"])
def test_every_pooling_gives_what_the_saved_model_gives(
    kind: str, pooling: Pooling, features: Any, saved: Any, request: pytest.FixtureRequest
) -> None:
    encoder = load(request.getfixturevalue(kind), Plan(0, None), pooling=pooling)
    assert isinstance(encoder, LayeredEncoder) is (kind == "model")
    vectors = encoder.text_vectors(features, None).numpy()
    assert vectors.shape == (len(features["input_mask"]), encoder.width)
    assert encoder.width == WIDTH * (2 if pooling == "mean_max" else 1)
    np.testing.assert_allclose(vectors, text_vector(saved, features["input_mask"], pooling), atol=1e-5)
    assert vectors.std(axis=0).min() > 1e-3


@pytest.mark.parametrize("pooling", [pooling for pooling in POOLINGS if pooling != "pooled"])
@pytest.mark.parametrize("layers", [[1], [2], [3], [1, 3], [1, 2, 3]], ids=str)
def test_every_layer_gives_what_the_saved_model_gives(
    layers: list[int], pooling: Pooling, three_layers: Path, features: Any, saved_three: Any
) -> None:
    encoder = load(three_layers, Plan(0, layers), pooling=pooling)
    vectors = encoder.text_vectors(features, None).numpy()
    assert vectors.shape[1] == encoder.width == len(layers) * WIDTH * (2 if pooling == "mean_max" else 1)
    # The oracle pools layer by layer: an order, or a layer, taken wrongly shows.
    single = [
        text_vector({"sequence_output": saved_three["encoder_outputs"][layer - 1]}, features["input_mask"], pooling)
        for layer in layers
    ]
    np.testing.assert_allclose(vectors, np.concatenate(single, axis=1), atol=1e-5)
    together = text_vector(saved_three, features["input_mask"], pooling, layers)
    np.testing.assert_allclose(vectors, together, atol=1e-5)


@pytest.mark.parametrize("frozen", range(1, LAYERS + 2))
def test_frozen_layers_first_and_the_rest_on_their_result_is_the_same(
    frozen: int, model: Path, features: Any, saved: Any
) -> None:
    encoder = load(model, Plan(frozen, None), pooling="mean_max")
    hidden = encoder.lower(features, None)
    upper = UpperLayers(encoder)
    vectors = upper.text_vectors({"hidden": hidden, "input_mask": features["input_mask"]}, None)
    assert upper.width == encoder.width
    np.testing.assert_allclose(vectors, text_vector(saved, features["input_mask"], "mean_max"), atol=1e-5)
    mask = features["input_mask"].astype(bool)
    if frozen > 1:
        expected = saved["encoder_outputs"][frozen - 2].numpy()[mask]
        np.testing.assert_allclose(hidden.numpy().reshape(*mask.shape, WIDTH)[mask], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("pooling", "plan"), [("pooled", Plan(0, None)), ("cls", Plan(2, None)), ("cls", Plan(0, [1, 2]))]
)
def test_the_first_token_alone_has_the_same_vector_and_the_same_gradients(
    pooling: Pooling, plan: Plan, steady_model: Path, features: Any
) -> None:
    tf = start_tensorflow()
    alone, whole = (load(steady_model, plan, pooling=pooling) for _ in range(2))
    compute, asked = whole.bert.layer, []

    def layer(number: int, x: Any, padding: Any, drop: Any, multiply: Any = None, *, first_only: bool = False) -> Any:
        asked.append((number, first_only))
        x = compute(number, x, padding, drop, multiply)
        return tf.reshape(x, [*features["input_mask"].shape, WIDTH])[:, 0] if first_only else x

    whole.bert.layer = layer
    results = []
    for encoder in (alone, whole):
        variables = [variable for group in encoder.groups[plan.frozen_groups :] for variable in group]
        with tf.GradientTape() as tape:
            vectors = encoder.text_vectors(features, tf.constant(0, tf.int64))
            loss = tf.reduce_sum(vectors**3)
        results.append((vectors.numpy(), [tf.convert_to_tensor(g).numpy() for g in tape.gradient(loss, variables)]))
    top = max(plan.layers or [LAYERS])
    assert asked == [(number, number == top - 1) for number in range(top)]
    (vectors, found), (expected_vectors, expected) = results
    np.testing.assert_allclose(vectors, expected_vectors, atol=1e-5)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", ["model", "saved_model"])
def test_a_step_drops_units_and_a_forward_pass_does_not(
    kind: str, features: Any, request: pytest.FixtureRequest
) -> None:
    tf = start_tensorflow()
    encoder = load(request.getfixturevalue(kind), Plan(0, None))

    def vectors(step: int | None) -> Any:
        return encoder.text_vectors(features, None if step is None else tf.constant(step, tf.int64)).numpy()

    assert np.array_equal(vectors(None), vectors(None))
    assert np.abs(vectors(0) - vectors(None)).max() > 1e-2
    assert np.abs(vectors(0) - vectors(1)).max() > 1e-2


def test_what_is_dropped_follows_from_seed_and_step(model: Path, features: Any) -> None:
    tf = start_tensorflow()

    def vectors(seed: int, step: int) -> list[Any]:
        encoder = load(model, Plan(0, None), seed=seed)
        values: list[Any] = encoder.text_vectors(features, tf.constant(step, tf.int64)).numpy().tolist()
        return values

    assert vectors(1, 5) == vectors(1, 5)
    assert vectors(1, 5) != vectors(1, 6)
    assert vectors(1, 5) != vectors(2, 5)


def test_frozen_layers_drop_nothing(model: Path, features: Any) -> None:
    tf = start_tensorflow()
    step = tf.constant(3, tf.int64)
    for frozen in (1, 2):
        encoder = load(model, Plan(frozen, None))
        assert np.array_equal(encoder.lower(features, step), encoder.lower(features, None))
        assert not np.array_equal(encoder.text_vectors(features, step), encoder.text_vectors(features, None))
    encoder = load(model, Plan(LAYERS + 1, None))
    assert np.array_equal(encoder.text_vectors(features, step), encoder.text_vectors(features, None))


def test_gradients_are_those_of_the_plain_functions(steady_model: Path, features: Any) -> None:
    tf = start_tensorflow()

    def gradients(encoder: Any) -> dict[str, NDArray[np.float32]]:
        with tf.GradientTape() as tape:
            vectors = encoder.text_vectors(features, tf.constant(0, tf.int64))
            loss = tf.reduce_sum(vectors**3)
        variables = [variable for group in encoder.groups for variable in group]
        found = tape.gradient(loss, variables)
        return {variable.name: tf.convert_to_tensor(g).numpy() for variable, g in zip(variables, found, strict=True)}

    short = load(steady_model, Plan(0, None), pooling="pooled")
    plain = load(steady_model, Plan(0, None), pooling="pooled")
    assert plain.bert.gelu is not bert.gelu
    plain.bert.gelu, plain.bert.normalise = bert.gelu, bert.layer_norm
    expected = gradients(plain)
    for name, found in gradients(short).items():
        np.testing.assert_allclose(found, expected[name], rtol=1e-3, atol=1e-5, err_msg=name)
        assert "query_key_value/bias" in name or np.abs(expected[name]).max() > 1e-3


@pytest.mark.parametrize("kind", ["model", "saved_model"])
def test_groups_are_the_embeddings_then_the_layers(kind: str, request: pytest.FixtureRequest) -> None:
    encoder = load(request.getfixturevalue(kind), Plan(0, None), pooling="pooled")
    names = [{variable.name.split("/")[0] for variable in group} for group in encoder.groups]
    assert names == [{"embeddings"}, {"layer_0"}, {"layer_1", "pooler"}]
    parameters = sum(int(variable.shape.num_elements()) for group in encoder.groups for variable in group)
    assert parameters == FACTS.parameters


def test_the_pooler_belongs_to_the_encoder_only_where_it_is_used(model: Path) -> None:
    for plan, pooling in ((Plan(0, None), "mean"), (Plan(0, [LAYERS]), "cls")):
        encoder = load(model, plan, pooling=pooling)
        names = [variable.name for group in encoder.groups for variable in group]
        assert names
        assert not [name for name in names if name.startswith("pooler")]
