"""Plans of studies: what people write becomes one, JSON gives back the same, and nothing else passes."""

import json
from pathlib import Path

import pytest

from engine.contract.run_dir import RunDirError
from engine.contract.settings import ConfigError, parse_settings
from engine.contract.studies.study_dir import StudyDir
from engine.contract.studies.study_plan import (
    Arm,
    PlanFile,
    StudyError,
    StudyPlan,
    config_of,
    merged,
    parse_arm,
    parse_seeds,
    read_plan_file,
)

ERM, MOLERE = Arm.of_method("erm"), Arm.of_method("molere")
OPEN = Arm(name="open", settings={"method": "molere", "guard": "off"}, decisions="none", epochs_factor=1.5)
PLAN = StudyPlan(arms=(ERM, OPEN), seeds=(0, 3), reference="open", settings={"lr": 0.1, "splitter.every": 2})


def test_arms_settings_and_seeds_are_read_from_text():
    arm = parse_arm("no-guard: method=molere guard=off reweighter.every=2 decisions=none epochs_factor=1.5")
    assert arm == Arm(name="no-guard", settings={"method": "molere", "guard": "off", "reweighter.every": 2},
                      decisions="none", epochs_factor=1.5)
    config = config_of(arm, {"epochs": 5, "guard": "agree", "splitter.lr": 0.1}, 7)
    assert (config.epochs, config.guard, config.seed) == (8, "off", 7)  # 7.5, rounded to even
    assert (config.reweighter.every, config.splitter.lr) == (2, 0.1)
    assert (parse_seeds("3"), parse_seeds("0,4"), parse_seeds("3,")) == ([0, 1, 2], [0, 4], [3])
    assert parse_settings(["a=1", "b=x", "c=null", "d=True"]) == {"a": 1, "b": "x", "c": None, "d": True}
    plan = merged(None, [ERM, MOLERE], [1, 0], {}, None)
    assert (plan.seeds, plan.reference, plan.num_runs) == ((0, 1), "erm", 4)


def test_a_plan_comes_back_from_json_as_it_was():
    assert StudyPlan.of_dict(json.loads(json.dumps(PLAN.to_dict()))) == PLAN


@pytest.mark.parametrize(("change", "words"), [
    ({"arms": None}, r"a plan must have arms \(a list\)"),
    ({"arms": {"erm": {"method": "erm"}}}, r"a plan must have arms \(a list\)"),
    ({"arms": [{"settings": {}}]}, "an arm must be an object of name, settings, decisions, epochs_factor"),
    ({"arms": [{"name": "a", "seed": 3}]}, "an arm must be an object of name"),
    ({"arms": [{"name": "a", "settings": []}]}, "an arm has settings"),
    ({"arms": [ERM.to_dict()] * 2}, "'erm' repeats"),
    ({"seeds": [0, "1"]}, "a list of numbers from 0 up"),
    ({"seeds": [True]}, "a list of numbers from 0 up"),
    ({"seeds": [0, 0]}, "must ascend from 0 up, each once"),
    ({"seeds": []}, "at least one seed"),
    ({"reference": None}, "reference .an arm's name"),
    ({"reference": "gone"}, "the reference must be one of the arms; got 'gone'"),
    ({"settings": "lr=1"}, r"settings \(an object\)"),
])
def test_a_damaged_plan_is_refused_in_one_line(change, words):
    with pytest.raises(StudyError, match=words) as caught:
        StudyPlan.of_dict(PLAN.to_dict() | change)
    assert "\n" not in str(caught.value)


def test_what_is_no_object_is_no_plan():
    with pytest.raises(StudyError, match="a plan must have arms"):
        StudyPlan.of_dict(["erm"])


def test_an_addition_replaces_an_arm_in_its_place_and_keeps_what_it_does_not_name():
    found = merged(PLAN, [MOLERE, Arm.of_method("rho"), Arm(name="open", settings={"method": "erm"})], [3, 1],
                   {"lr": 0.2}, None)
    assert [arm.name for arm in found.arms] == ["erm", "open", "molere", "rho"]
    assert found.arms[1].settings == {"method": "erm"} and found.seeds == (0, 1, 3) and found.reference == "open"
    assert found.settings == {"lr": 0.2, "splitter.every": 2} and PLAN.settings["lr"] == 0.1


def test_settings_may_be_nested_or_dotted_and_the_plan_stays_as_it_is():
    arm = Arm(name="a", settings={"splitter": {"every": 2}, "splitter.lr": 0.5})
    config = config_of(arm, {}, 0)
    assert (config.splitter.every, config.splitter.lr) == (2, 0.5)
    assert arm.settings == {"splitter": {"every": 2}, "splitter.lr": 0.5}
    with pytest.raises(ConfigError, match="arm b: splitter must be an object of settings; got 3"):
        config_of(Arm(name="b", settings={"splitter": 3, "splitter.lr": 0.5}), {}, 0)


@pytest.mark.parametrize(("arms", "expected"), [
    (["erm", "molere"], (ERM, MOLERE)),
    ({"erm": {"method": "erm"}, "open": {"method": "molere", "guard": "off", "decisions": "none",
                                         "epochs_factor": 1.5}}, (ERM, OPEN)),
    ([ERM.to_dict(), OPEN.to_dict()], (ERM, OPEN)),
    ([], ()),
])
def test_a_plan_file_has_arms_by_name_or_in_a_list(tmp_path, arms, expected):
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({"arms": arms, "seeds": 2}))
    assert read_plan_file(path) == PlanFile(arms=expected, seeds=(0, 1))
    path.write_text(json.dumps({"arms": arms} | {"seeds": [5], "settings": {"lr": 1}, "reference": "erm"}))
    assert read_plan_file(path) == PlanFile(arms=expected, seeds=(5,), settings={"lr": 1}, reference="erm")


@pytest.mark.parametrize(("text", "words"), [
    ("{", "--plan must be a readable JSON file"),
    ("[]", "a plan holds arms, seeds, settings, reference; .* has .not an object"),
    ('{"arm": {}}', "a plan holds arms, seeds, settings, reference; .* has arm"),
    ('{"seeds": [-1]}', "a plan's arms and settings must be objects"),
    ('{"reference": ["erm"]}', "its reference a name"),
    ('{"arms": {"a": 3}}', "an arm must be an object of settings; a is 3"),
])
def test_a_bad_plan_file_is_refused_in_one_line(tmp_path, text, words):
    path = tmp_path / "plan.json"
    path.write_text(text)
    with pytest.raises(StudyError, match=words) as caught:
        read_plan_file(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("call", "error", "words"), [
    (lambda: parse_seeds("many"), StudyError, "--seeds must be a count such as 5"),
    (lambda: parse_arm("method=erm"), StudyError, "an arm must read"),
    (lambda: parse_arm("../up: method=erm"), StudyError, "an arm's name: a name must be"),
    (lambda: parse_arm("a: epochs_factor=0"), StudyError, r"epochs_factor must lie in \(0, 1000\]"),
    (lambda: config_of(parse_arm("a: metod=erm"), {}, 0), ConfigError, "arm a: no setting named metod"),
    (lambda: merged(None, [ERM, ERM], [0], {}, None), StudyError, "'erm' repeats"),
    (lambda: merged(None, [], [0], {}, None), StudyError, "needs at least one arm"),
    (lambda: merged(None, [ERM], [], {}, None), StudyError, "needs at least one seed"),
    (lambda: merged(None, [ERM], [0], {}, "x"), StudyError, "the reference must be one of the arms; got 'x'"),
    (lambda: StudyDir.of(Path("p"), "../up"), RunDirError, "a name must be"),
])
def test_bad_input_is_one_line(call, error, words):
    with pytest.raises(error, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)
