"""RunConfig: a JSON round trip, refusals in one line, and settings that describe themselves."""

import dataclasses
import json
import math
from typing import Any

import pytest
from typer.testing import CliRunner

from engine.__main__ import app
from engine.contract.config import RunConfig
from engine.contract.method_config import ControlConfig, ReweighterConfig, SplitterConfig
from engine.contract.methods import LOSSES_OF_METHODS, METHODS, VALIDATION_SOURCES, WEIGHT_SOURCES
from engine.contract.settings import ConfigError, leaves, settings_of

CONFIGS = (RunConfig, ReweighterConfig, SplitterConfig, ControlConfig)
OF_PLAIN_TRAINING = ("mixup", "weights_by")
ALL_SETTINGS = [(cls, setting) for cls in CONFIGS for setting in settings_of(cls)]
IDS = [f"{cls.__name__}.{setting['name']}" for cls, setting in ALL_SETTINGS]


def other_value(setting: dict[str, Any]) -> Any:
    """A legal value that is not the default."""
    if setting["choices"]:
        return next(choice for choice in setting["choices"] if choice != setting["default"])
    if setting["type"] is bool:
        return not setting["default"]
    if setting["low"] is None:
        return "DEFAULT"
    return setting["low"] if setting["low"] != setting["default"] else setting["high"]


def group_of(cls: type) -> str:
    return {ReweighterConfig: "reweighter", SplitterConfig: "splitter", ControlConfig: "controls"}[cls]


def base_of(name: str) -> dict[str, Any]:
    """What a config needs besides, so that a setting may be set."""
    return {"method": "erm"} if name in OF_PLAIN_TRAINING else {}


def with_setting(cls: type, name: str, value: Any) -> RunConfig:
    """A RunConfig with one setting of it, or of a group of it, changed."""
    return RunConfig(**{name: value, **base_of(name)}) if cls is RunConfig else \
        RunConfig(**{group_of(cls): cls(**{name: value})})


@pytest.mark.parametrize("cls", CONFIGS)
def test_settings_cover_every_field_with_help(cls: type) -> None:
    settings = settings_of(cls)
    own = [f.name for f in dataclasses.fields(cls) if f.name not in RunConfig.NESTED]
    assert [setting["name"] for setting in settings] == own
    for setting in settings:
        assert len(setting["help"]) > 10 and setting["help"].endswith("."), setting["name"]
        assert {"name", "default", "type", "help", "unit", "low", "high", "choices", "examples",
                "advanced"} == set(setting)
        is_number = setting["type"] in (int, float, int | None, float | None)
        assert (setting["low"] is not None) == (setting["high"] is not None) == is_number, setting["name"]


@pytest.mark.parametrize(("cls", "setting"), ALL_SETTINGS, ids=IDS)
def test_every_setting_round_trips_through_json(cls: type, setting: dict[str, Any]) -> None:
    config = with_setting(cls, setting["name"], other_value(setting))
    again = RunConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config != RunConfig(**base_of(setting["name"]))


@pytest.mark.parametrize(("cls", "setting"), ALL_SETTINGS, ids=IDS)
def test_every_setting_refuses_what_it_cannot_be(cls: type, setting: dict[str, Any]) -> None:
    bad: list[Any] = [["list"], object()]
    if setting["choices"]:
        bad.append("no such choice")
    elif setting["type"] is not bool and setting["low"] is not None:
        bad += [setting["low"] - 1, setting["high"] * 2 + 1, math.nan, math.inf, True, "text"]
    elif setting["type"] is bool:
        bad += [1, "yes"]
    prefix = "" if cls is RunConfig else f"{group_of(cls)}."
    for value in bad:
        with pytest.raises(ConfigError, match=rf"^{prefix}{setting['name']} must .*got ") as caught:
            with_setting(cls, setting["name"], value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("cls", "setting"), [pair for pair in ALL_SETTINGS if pair[1]["low"] is not None],
                         ids=lambda value: value["name"] if isinstance(value, dict) else value.__name__)
def test_the_ends_of_a_range_are_allowed(cls: type, setting: dict[str, Any]) -> None:
    for value in (setting["low"], setting["high"]):
        config = with_setting(cls, setting["name"], value)
        assert config == RunConfig.from_dict(config.to_dict())


@pytest.mark.parametrize(("values", "message"), [
    ({"epoch": 3}, "no setting named epoch; there are augment, batch_size, .*epochs"),
    ({"splitter": {"rate": 1}}, "no setting named splitter.rate; there are balance_strength, .*lr"),
    ({"splitter": 3}, "splitter must be an object of settings; got 3"),
    ({"splitter": {"lr": -1.0}}, r"lr must lie in \[1e-08, 10.0\]; got -1.0"),
    ({"method": "sgd"}, "method must be one of molere, erm, .*; got 'sgd'"),
    ({"epochs": 2.5}, "epochs must be of type int; got 2.5"),
    ([1], r"the configuration must be an object of settings; got \[1\]"),
])
def test_wrong_values_are_refused_in_one_line(values: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RunConfig.from_dict(values)


def test_a_config_cannot_be_changed_or_given_by_position() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        RunConfig().epochs = 3  # type: ignore[misc]
    with pytest.raises(TypeError, match="positional"):
        RunConfig("molere")  # type: ignore[misc]


# -- settings from the command line


def test_the_command_that_lists_settings_lists_every_one() -> None:
    said = CliRunner().invoke(app, ["settings"]).stdout.splitlines()
    names = [name for name, *_ in leaves(RunConfig())]
    assert [line.split(" = ")[0] for line in said if not line.startswith(" ")] == names and len(names) > 50


def test_settings_from_the_command_line() -> None:
    config = RunConfig.from_settings(
        ["epochs=3", "splitter.lr=0.01", "splitter.is_soft=False", "rotation_groups=none", "embedding=none",
         "weights=DEFAULT", "lr=1", "reweighter.every=7"], method="lrw_hard", seed=None)
    assert (config.method, config.seed, config.epochs, config.lr, config.weights) == ("lrw_hard", 0, 3, 1, "DEFAULT")
    assert config.splitter == SplitterConfig(lr=0.01, is_soft=False) and config.reweighter.every == 7
    assert config.rotation_groups is None and config.embedding == "none"


@pytest.mark.parametrize(("setting", "message"), [
    ("epochs", "a setting must read name=value; got 'epochs'"),
    ("epochs=many", "epochs must be of type int; got 'many'"),
    ("epochs=none", "epochs must be of type int; got None"),
    ("nothing=1", "no setting named nothing"),
    ("splitter.nothing=1", "no setting named splitter.nothing"),
    ("splitter=1", "splitter must be an object of settings"),
])
def test_a_wrong_setting_is_refused(setting: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RunConfig.from_settings([setting])


# -- what a method means


def test_methods_are_combinations_of_sources() -> None:
    assert set(METHODS) == {"molere", "erm", "lrw_random", "lrw_easy", "lrw_hard", "meta_weight_net", "rho", "fsr",
                            "kfold", "fbr", "elr", "jtt", "cvar_dro", "oof_exclude", "discriminant", "imported"}
    for method in METHODS.values():
        assert method.validation in VALIDATION_SOURCES and method.weights in WEIGHT_SOURCES
        assert method.loss in LOSSES_OF_METHODS
        assert method.title and method.help.endswith(".")
    told = {(m.validation, m.weights, m.loss, m.folds, m.is_head_only, m.is_imported) for m in METHODS.values()}
    assert len(told) == len(METHODS)


def test_validation_can_be_overridden_and_without_it_weights_are_uniform() -> None:
    assert RunConfig().validation_source == "learned" and RunConfig().weight_source == "features"
    clean = RunConfig(validation="clean")
    assert (clean.validation_source, clean.weight_source) == ("clean", "features")
    assert RunConfig(validation="none").weight_source == "uniform"
    assert RunConfig(method="erm", validation="random").weight_source == "uniform"
    assert RunConfig.from_settings(["validation=none"]).validation_source == "none"
    assert RunConfig(method="rho").weight_source == RunConfig(method="rho", validation="random").weight_source == "rho"


def test_rho_cross_fits_on_halves_unless_told_otherwise() -> None:
    assert [RunConfig(method=m).num_folds for m in ("rho", "lrw_easy", "lrw_hard")] == [2, 3, 3]
    assert RunConfig(method="rho", folds=5).num_folds == 5


def test_who_trains_cross_fitted_first() -> None:
    firsts = {name for name in METHODS if RunConfig(method=name, features="own").is_cross_fitted}
    assert firsts == {"lrw_easy", "lrw_hard", "rho", "kfold", "oof_exclude"}
    assert RunConfig(method="kfold").num_folds == 5
    assert {name for name in METHODS if RunConfig(method=name, features="own").has_first_training} == firsts | {"jtt"}
    assert not RunConfig(method="lrw_hard", validation="clean").is_cross_fitted
    assert RunConfig(validation="hard").is_cross_fitted and not RunConfig(folds=4).is_cross_fitted


@pytest.mark.parametrize(("fraction", "epochs", "expected"), [(0.25, 20, 5), (0.25, 2, 1), (0.0, 20, 0), (1.0, 3, 3)])
def test_warmup_is_rounded_up(fraction: float, epochs: int, expected: int) -> None:
    assert RunConfig(warmup_fraction=fraction, epochs=epochs).warmup_epochs == expected


@pytest.mark.parametrize(("values", "expected"), [
    ({}, 8), ({"epochs": 10}, 7), ({"epochs": 8}, 6), ({"epochs": 4}, 3), ({"epochs": 2}, 2), ({"epochs": 1}, 2),
    ({"rotation_groups": 3}, 3), ({"rotation_groups": 30}, 14), ({"epochs": 8, "rotation_groups": None}, None)])
def test_there_are_no_more_groups_than_epochs_before_the_finish(values: dict[str, Any], expected: int | None) -> None:
    assert RunConfig(**values).num_rotation_groups == expected


@pytest.mark.parametrize(("values", "expected"), [
    ({}, 15), ({"epochs": 4}, 4), ({"epochs": 2}, 2), ({"finish_fraction": 0.0}, 21), ({"finish_fraction": 0.9}, 4),
    ({"finish_fraction": 1.0, "warmup_fraction": 0.0}, 2), ({"warmup_fraction": 1.0}, 21), ({"epochs": 1}, 2),
    ({"method": "lrw_random"}, 15), ({"method": "lrw_easy"}, 15), ({"method": "lrw_hard"}, 15),
    ({"method": "meta_weight_net"}, 15), ({"method": "erm", "validation": "random"}, 21), ({"method": "rho"}, 21),
    ({"method": "fsr"}, 21), ({"method": "fbr"}, 15), ({"method": "elr"}, 21), ({"method": "jtt"}, 21),
    ({"method": "cvar_dro", "validation": "random"}, 21), ({"validation": "clean"}, 21), ({"validation": "none"}, 21),
    ({"select_best": True}, 21)])
def test_the_finish_is_of_those_who_learn_weights_and_after_warmup(values: dict[str, Any], expected: int) -> None:
    assert RunConfig(**values).first_finish_epoch == expected


@pytest.mark.parametrize(("given", "exponent"), [
    ({}, 0.5), ({"method": "lrw_hard"}, 0.5), ({"method": "meta_weight_net"}, 0.5), ({"method": "erm"}, 0.0),
    ({"features": "f"}, 1.0), ({"features": "f", "method": "erm"}, 0.0),
    ({"method": "fsr"}, 0.0), ({"validation": "none"}, 0.0), ({"class_balance": 0.0}, 0.0),
    ({"method": "erm", "class_balance": 1.0}, 1.0)])
def test_classes_weigh_by_their_size_where_validation_asks_for_each_alike(given, exponent):
    assert RunConfig.from_dict(given).class_exponent == exponent


@pytest.mark.parametrize("method", ["rho", "fsr"])
def test_class_balance_is_refused_where_weights_leave_it_no_place(method):
    with pytest.raises(ConfigError, match="class_balance"):
        RunConfig.from_dict({"method": method, "class_balance": 0.5})


@pytest.mark.parametrize("given", [
    {"method": "molere"}, {"method": "cvar_dro"}, {"method": "elr"}, {"method": "fsr"}, {"method": "rho"}])
def test_samples_are_mixed_where_weights_are_known_before_the_step_alone(given):
    with pytest.raises(ConfigError, match=f"mixup needs weights .* got {given['method']} with mixup 0.2"):
        RunConfig.from_dict(given | {"mixup": 0.2})
    for method in ("erm", "jtt", "oof_exclude", "kfold"):
        assert RunConfig(method=method, mixup=0.2).mixup == 0.2


@pytest.mark.parametrize("given", [{"method": "molere"}, {"method": "jtt"},
                                   {"method": "discriminant", "features": "own"}])
def test_weights_of_the_data_are_for_plain_training(given):
    with pytest.raises(ConfigError, match="weights_by is for plain training"):
        RunConfig.from_dict(given | {"weights_by": "w"})
    assert RunConfig(method="erm", weights_by="w", validation="random").weight_source == "uniform"


def test_weights_that_need_no_validation_stay_without_it():
    sources = {name: RunConfig(method=name).weight_source for name in ("fbr", "jtt", "cvar_dro", "oof_exclude", "elr")}
    assert sources == {"fbr": "similarity", "jtt": "errors", "cvar_dro": "worst", "oof_exclude": "confident",
                       "elr": "uniform"}
    assert RunConfig(method="fbr", validation="none").weight_source == "uniform"
    assert RunConfig(method="elr").loss == "early_learning" and RunConfig(method="jtt").loss == "cross_entropy"


def test_what_a_run_of_older_code_lacks_is_what_that_code_did():
    document = RunConfig(method="molere").to_dict()
    assert RunConfig.of_run(document) == RunConfig(method="molere")
    for name in ("class_balance", "precision"):
        del document[name]
    old = RunConfig.of_run(document)
    assert old.class_exponent == 0.0 and old.precision == "float32" and old != RunConfig(method="molere")
    with pytest.raises(ConfigError):
        RunConfig.of_run(None)  # type: ignore[arg-type]


def test_a_setting_reads_none_as_its_help_writes_it():
    given = ["splitter.features=None", "validation=none", "rotation_groups=null", "features=None"]
    config = RunConfig.from_settings(given)
    assert (config.splitter.features, config.rotation_groups, config.features) == (None, None, None)
    assert config.validation == "none", "there it is one of the choices"


def test_a_training_of_older_code_started_from_no_features():
    document = RunConfig().to_dict()
    del document["splitter"]["features"]
    assert RunConfig.of_run(document).splitter.features is None and RunConfig().splitter.features == "auto"
    assert RunConfig.of_run(document).spelled_out() != RunConfig().spelled_out()
    for given in ({"method": "erm"}, {"features": "lite0"}):  # it would have made no difference
        older = RunConfig.from_dict(given).written()
        del older["splitter"]["features"]
        assert RunConfig.of_run(older) == RunConfig.from_dict(given), "nor does Compare show one"


def test_an_open_class_balance_on_features_was_another_once_and_is_written_as_what_it_comes_to():
    head = RunConfig(features="lite0")
    assert RunConfig.of_run(head.to_dict()).class_exponent == 0.5, "older code left it open"
    assert head.written()["class_balance"] == 1.0
    again = RunConfig.of_run(head.written())
    assert again == head, "open again: a setting of its own would hold for the plain training before, too"
    assert RunConfig.of_run(head.to_dict()).spelled_out() != head.spelled_out()
    for config in (RunConfig(features="lite0", method="erm"), RunConfig(features="lite0", validation="none"),
                   RunConfig(method="molere"), RunConfig(features="lite0", class_balance=0.0)):
        assert config.written() == config.to_dict() and RunConfig.of_run(config.written()) == config


def test_open_batch_size_and_learning_rate_suit_the_data():
    head = RunConfig(features="lite0")
    assert [head.step_size(num) for num in (10, 1_000, 3_000, 12_000, 10**6)] == [16, 16, 64, 256, 2048]
    assert [head.peak_lr(num) for num in (1_000, 12_000, 1_000_000)] == [0.05, 0.1, 0.1]
    assert RunConfig().step_size(10**6) == 128 and RunConfig().peak_lr(10**6) == 0.05
    assert RunConfig(features="lite0", batch_size=64, lr=0.3).peak_lr(12_000) == 0.3
    assert RunConfig(features="lite0", batch_size=64).peak_lr(12_000) == 0.05
    assert RunConfig(lr=None) == RunConfig() and RunConfig(lr=0.05).spelled_out() == RunConfig().spelled_out()
