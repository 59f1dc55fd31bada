"""The JSON Schema accepts what loads and refuses what does not, but for what such a schema cannot say."""

import itertools
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.policy.test_file import DEDICATED, PRESENT, SECTIONS, problems
from tests.vectors import Data
from webhook.policy.file import json_schema, load
from webhook.policy.yaml_text import ProblemsError

SCHEMA = json_schema()
KINDS: dict[str, type | tuple[type, ...]] = {
    "object": dict, "array": list, "string": str, "number": (int, float), "integer": int, "null": type(None),
    "boolean": bool,
}  # fmt: skip


def test_the_json_schema_says_what_the_file_may_hold() -> None:
    schema = json_schema()
    assert json.loads(json.dumps(schema)) == schema
    assert (schema["$schema"], schema["title"]) == (
        "https://json-schema.org/draft/2020-12/schema",
        "flyte-admission policy",
    )
    assert (list(schema["properties"]), schema["additionalProperties"]) == (
        SECTIONS.split(", "),
        False,
    )


def accepts(schema: Any, value: Any) -> bool:
    """As a JSON Schema validator would say, for the words that this schema uses."""
    if isinstance(schema, bool):
        return schema
    known = schema.keys() - {"$ref", "$defs", "$schema", "title", "description", "default", "examples", "format"}
    assert known <= CHECKS.keys() | {"discriminator", "properties", "patternProperties", "additionalProperties"}, known
    if "$ref" in schema and not accepts(SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")], value):
        return False
    return all(check(schema[word], value) for word, check in CHECKS.items() if word in schema) and (
        not isinstance(value, dict) or all(accepts_entry(schema, key, item) for key, item in value.items())
    )


def accepts_entry(schema: Data, key: str, value: Any) -> bool:
    named = [found for name, found in schema.get("properties", {}).items() if name == key]
    named += [found for pattern, found in schema.get("patternProperties", {}).items() if matches(pattern, key)]
    return all(accepts(found, value) for found in named or [schema.get("additionalProperties", True)])


def matches(pattern: str, text: str) -> bool:
    """As the regular expressions of JavaScript and Go do: $ is the end, and no line break before it."""
    return bool(re.search(pattern.replace("$", r"\Z"), text))


def is_a(kind: str, value: Any) -> bool:
    if isinstance(value, bool) or kind == "boolean":
        return isinstance(value, bool) and kind == "boolean"
    return isinstance(value, KINDS[kind]) or (kind == "integer" and isinstance(value, float) and value.is_integer())


def of(kind: str, check: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """A word that says nothing of values of other kinds."""
    return lambda said, value: not is_a(kind, value) or check(said, value)


CHECKS: dict[str, Callable[[Any, Any], bool]] = {
    "type": lambda kinds, value: any(is_a(kind, value) for kind in ([kinds] if isinstance(kinds, str) else kinds)),
    "anyOf": lambda options, value: any(accepts(option, value) for option in options),
    "oneOf": lambda options, value: sum(accepts(option, value) for option in options) == 1,
    "allOf": lambda parts, value: all(accepts(part, value) for part in parts),
    "not": lambda schema, value: not accepts(schema, value),
    "enum": lambda accepted, value: any(
        value == each and is_a("boolean", value) is is_a("boolean", each) for each in accepted
    ),
    "const": lambda accepted, value: CHECKS["enum"]([accepted], value),
    "minimum": of("number", lambda least, value: value >= least),
    "maximum": of("number", lambda most, value: value <= most),
    "exclusiveMinimum": of("number", lambda least, value: value > least),
    "exclusiveMaximum": of("number", lambda most, value: value < most),
    "pattern": of("string", matches),
    "minLength": of("string", lambda least, value: len(value) >= least),
    "minItems": of("array", lambda least, value: len(value) >= least),
    "maxProperties": of("object", lambda most, value: len(value) <= most),
    "propertyNames": of("object", lambda schema, value: all(accepts(schema, key) for key in value)),
    "required": of("object", lambda names, value: all(name in value for name in names)),
    "items": of("array", lambda schema, value: all(accepts(schema, item) for item in value)),
}


@pytest.mark.parametrize(
    ("data", "good"),
    [
        ({}, True),
        ({"task_resources": {"defaults": {"cpu": "500m", "mem": 1, "gpu": 0.0}, "limits": None}}, True),
        ({"task_resource_defaults": {"task_resources": {"limits": {"nvidia.com/gpu": None}}}}, True),
        ({"task_resource_defaults": {"defaults": {}}, "secondary_defaults": {}}, True),
        ({"plugins": {"spark": {"x": 1}, "k8s": {"default-cpus": 1, "gpu-resource-name": "amd.com/gpu"}}}, True),
        ({"plugins": {"k8s": {"resource-tolerations": {"a.b/c": PRESENT, "d.e/f": [PRESENT, DEDICATED]}}}}, True),
        ({"plugins": {"k8s": {"resource-tolerations": [{"a.b/c": PRESENT}, {"d.e/f": [DEDICATED]}]}}}, True),
        ({"other": 1}, False),
        ([], False),
        ({"task_resources": {"default": {}}}, False),
        ({"task_resources": {"defaults": {"cpu": True}}}, False),
        ({"task_resources": {"defaults": {"cpu": -1}}}, False),
        ({"task_resources": {"defaults": ["cpu"]}}, False),
        ({"plugins": {"spork": {}, "k8s": {"gpu": 1}}}, True),
        ({"plugins": {"k8s": {"gpu-resource-name": 5}}}, False),
        ({"plugins": {"k8s": {"resource-tolerations": {"a.b/c": {**PRESENT, "effect": "NoRun"}}}}}, False),
        ({"plugins": {"k8s": {"resource-tolerations": {"a.b/c": {**PRESENT, "keys": "x"}}}}}, False),
        ({"plugins": {"k8s": {"resource-tolerations": "a.b/c"}}}, False),
        # quantities, names, dates
        ({"task_resources": {"limits": {"memory": "64GB"}}}, False),
        ({"task_resources": {"limits": {"cpu": "four"}}}, False),
        ({"task_resources": {"limits": {"cpu": "-1"}}}, False),
        ({"task_resources": {"limits": {"memory": "1.5Gi", "cpu": " .5 ", "storage": "1e3"}}}, True),
        ({"task_resources": {"limits": {"gpu": "1.5", "cpu": 1}}}, False),
        ({"task_resources": {"limits": {"gpu": 1.5}}}, False),
        ({"task_resources": {"limits": {"gpu": "500m"}}}, False),
        ({"task_resources": {"limits": {"gpu": "1000m", "amd.com/gpu": "2.0", "a.b/c": "1k", "a.b/d": "1e3"}}}, True),
        ({"task_resources": {"limits": {"nvidia.com/gpu": "x"}}}, False),
        ({"task_resources": {"limits": {"cpus": 1}}}, False),
        ({"task_resources": {"defaults": {"requests.nvidia.com/gpu": 1}}}, False),
        ({"task_resources": {"limits": {"nvidia.com/mig-*": 1, "hugepages-2Mi": "4Mi"}}}, True),
        ({"task_resources": {"limits": {"deviceclass.resource.kubernetes.io/gpu.nvidia.com": 1}}}, True),
        ({"task_resources": {"defaults": {"nvidia.com/mig-*": 1}}}, False),
        ({"overrides": [{"project": "a b"}]}, False),
        ({"overrides": [{"project": "a" * 64}]}, False),
        ({"overrides": [{"task": "---"}]}, False),
        ({"overrides": [{"project": "a-b.c_d", "task": "core.flyte.wf"}]}, True),
        ({"exemptions": [{"match": {"project": "p"}, "skip": ["fill"], "reason": "r", "until": "2030-12-31"}]}, True),
        ({"exemptions": [{"match": {"project": "p"}, "skip": ["fill"], "reason": "r", "until": "2030-11-31"}]}, False),
        ({"exemptions": [{"match": {"project": "p"}, "skip": ["fill"], "reason": "r", "until": "31.12.2030"}]}, False),
        ({"exemptions": [{"match": {"project": "p"}, "skip": ["fill"], "reason": "", "until": "2030-12-31"}]}, False),
        ({"exemptions": [{"match": {"project": "p"}, "skip": [], "reason": "r", "until": "2030-12-31"}]}, False),
        ({"exemptions": [{"match": {"project": "p"}, "skip": ["fill"], "reason": "r"}]}, False),
        ({"namespace_mapping": {"template": "{{project}}"}}, False),
        ({"namespace_mapping": {"template": "flyte-{{ project }}-{{ domain }}"}}, True),
        ({"plugins": {"k8s": {"gpu-resource-name": "gpu"}}}, False),
        ({"plugins": {"k8s": {"resource-tolerations": {"a.b/c": {**PRESENT, "key": "a b"}}}}}, False),
        ({"plugins": {"k8s": {"resource-tolerations": {"a.b/c": {"key": "a", "value": "b c"}}}}}, False),
        ({"verdicts": {"retry_after_seconds": 0}}, False),
        ({"warnings": "yes"}, False),
    ],
)
def test_the_json_schema_accepts_what_loads_and_refuses_what_does_not(data: Any, good: bool) -> None:  # noqa: FBT001
    assert accepts(SCHEMA, data) is good
    text = json.dumps(data)
    if good:
        load(text, "p.yaml")
    else:
        assert problems(text)


LONG = "a" * 64
NAMES: list[Any] = [
    *("cpu", "memory", "mem", "storage", "ephemeral-storage", "gpu", "cpus", "", "gpu*", "*", LONG, LONG[:63], "gpu\n"),
    *(
        "nvidia.com/gpu",
        "nvidia.com/gpu\n",
        "nvidia.com/",
        "/gpu",
        "nvidia.com/gpu/x",
        "nvidia.com/-x",
        "nvidia.com/x-",
    ),
    *("Nvidia.com/gpu", "a b/c", "a..b/c", "-a/b", "a-/b", "é/b", "a/b.c_d-e", "a/b*c", "nvidia.com/mig-*", "a/*"),
    *("requests.a/b", "xrequests.a/b", "limits.nvidia.com/gpu", "hugepages-2Mi", "hugepages-1Gi", "hugepages-xx"),
    *(
        "hugepages-",
        "hugepages-*",
        "hugepages-0",
        "hugepages-1.5Mi",
        "hugepages-2Mi*",
        "hugepages-02Mi",
        "hugepages-2MI",
    ),
    *("kubernetes.io/x", "a.kubernetes.io/x", "requests.a.kubernetes.io/x", "kubernetes.iox/b"),
    *("deviceclass.resource.kubernetes.io/*", "deviceclass.resource.kubernetes.io/gpu.nvidia.com"),
    *(f"a/{LONG}", f"a/{LONG[:63]}", f"a/{LONG[:63]}*", f"a/{LONG[:62]}*"),  # 63 characters after the slash
    *("a." * 122 + "a/b", "a." * 121 + "a/b", "a." * 127 + "a/b"),  # 253 before it, with requests.
    *("a." * 120 + "kubernetes.io/b", "a." * 121 + "kubernetes.io/b"),
]
AMOUNTS: list[Any] = [
    *(None, "", 0, 1, 8, -1, 1.5, 0.0, -0.0, 2.0, True, False, [], {}),
    *("500m", "64GB", "4 cores", " 1 ", "+1", "-0", "-1", " -1", "1e3", "1E3", "1e", "e3", ".5", "5.", ".", "1\n"),
    *("1Ki", "1ki", "1K", "0x10", "1_000", "\u0661", "\t1", "1.5.1", "1e-3", "1.5Gi", "1.0001k", "1.5k", "1000m"),
    *("500u", "1000000u", "0m", "0.0m", "1.25Mi", "1.1Mi", "Gi", "m", "1 Gi", "++1", "+-1", "1e+3", "1.e3", "1e1.5"),
    *("1000000000n", "1.000", "1.0000001", "NaN", "inf", "{{ x }}", "~unset"),
]
PAIRS = [
    *({"request": one, "limit": 2} for one in AMOUNTS),
    *({"request": "1m", "limit": one} for one in AMOUNTS),
    *({"request": 1}, {"limit": 1}, {"request": 1, "limit": 2, "x": 1}),
]
DAYS: list[Any] = [
    *("2028-02-29", "2027-02-29", "2000-02-29", "1900-02-29", "2100-02-29", "2030-12-31", "2030-12-32", "2030-04-31"),
    *("2030-4-1", "30-01-01", "2030-01-01T00:00", "", "2030-01-01\n", 20300101, None, [], "2030-00-10", "2030-10-00"),
]
TEXTS: list[Any] = [
    "a",
    "A-b_c.d",
    "",
    "a b",
    "-a",
    "a-",
    LONG[:63],
    LONG,
    None,
    5,
    True,
    [],
    "é",
    "a\n",
    "---",
    "a/b",
    "fill",
]
TEMPLATES: list[Any] = [
    *("{{ project }}-{{ domain }}", "{{project}}", "x", "a b", "{{ domain }}", "{{ project }}{{ domain }}", 5, None),
    *(
        "flyte-{{ project }}",
        "{{ project }",
        "{{ x }}",
        "a{b",
        "-{{ project }}",
        "{{ project }}.",
        "{{ project }}_",
        LONG,
    ),
]
ANYTHING: list[Any] = [None, [], {}, 5, "x", True]
SECTIONS_OF_AMOUNTS: list[Callable[[Any], Any]] = [
    lambda it: {"task_resources": {"defaults": it}},
    lambda it: {"secondary_defaults": it},
    lambda it: {"task_resource_defaults": {"task_resources": {"limits": it}}},
    lambda it: {"pod_limits": it},
    lambda it: {"overrides": [{"project": "p", "limits": it}]},
    lambda it: {"overrides": [{"task": "t", "secondary_defaults": it}]},
    lambda it: {"configuration": {"inline": {"task_resources": {"limits": it}}}},
    lambda it: {"configmap": {"x": [{"task_resource_defaults": {"task_resources": {"defaults": it}}}]}},
]
DATED = {"match": {"project": "p"}, "skip": ["fill"], "reason": "r", "until": "2030-01-01"}


def amounts() -> Iterator[Any]:
    for within in SECTIONS_OF_AMOUNTS:
        yield from (within({name: 1}) for name in NAMES)
        yield from (
            within({name: it}) for it in AMOUNTS for name in ("cpu", "gpu", "a.b/c", "hugepages-*", "hugepages-2Mi")
        )
        yield from (within({name: it}) for it in PAIRS for name in ("memory", "gpu"))
        yield from map(within, ANYTHING)


def names_of_resources() -> Iterator[Any]:
    for name in NAMES:
        yield {"over_limit": {name: "refuse"}}
        yield {"overrides": [{"org": "o", "over_limit": {name: "clamp"}}]}
        options: tuple[dict[str, Any], ...] = (
            {"resource-tolerations": {name: []}}, {"resource-tolerations": [{name: {"operator": "Exists"}}]},
            {"gpu-resource-name": name}, {"add-tolerations-for-extended-resources": [name]},
            {"add-tolerations-for-extended-resources": name},
            {"accelerator-device-classes": {"X": {"resource-name": name}}},
            {"accelerator-device-classes": [{"X": {"resource-name": name}}]},
        )  # fmt: skip
        for k8s in options:
            yield {"plugins": {"k8s": k8s}}
            yield {"configuration": {"inline": {"plugins": {"k8s": k8s}}}}


def sections() -> Iterator[Any]:
    for it in ANYTHING:
        yield from ({key: it} for key in (*SECTIONS.split(", "), "nonsense", "configuration", "server"))
        yield from ({key: [it]} for key in ("overrides", "exemptions", "domains"))
        for key in K8S:
            yield from ({"plugins": plugins} for plugins in ({key: it}, {"k8s": {key: it}}, {"k8s": {key: [it]}}))
            yield {"plugins": {"k8s": {key: {"a.b/c": it}}}}
        for key in ("namespace_mapping", "domains", "plugins", "task_resources", "task_resource_defaults"):
            yield from ({"configmap": around} for around in ({"y": {key: it}}, {"y": [{key: [it]}]}, {key: it}))
        for one, other in (({}, it), (it, {"limits": {}}), (it, it)):
            yield {"task_resources": one, "task_resource_defaults": other}
            yield {"task_resource_defaults": {"task_resources": one, "limits": other}}
        yield from ({"over_limit": {"gpu": it}}, {"cpu_limits": it}, {"cpu_limits": {"ratio": it}})
        yield from ({"overrides": [{"project": "p", key: it}]} for key in ("mode", "keep_exclusive_cpus", "until"))
        yield from ({"overrides": [{"task": "t", key: it}]} for key in ("mode", "reason", "resource_claims"))
    yield from ({"cpu_limits": {"ratio": ratio}} for ratio in (1, 2.5, 0.5, 0, -1, "2", 1.0))
    yield from ({"cpu_limits": it} for it in ("keep", "remove", {"ratio": 2, "x": 1}))
    for code in (403, 413, 422, 429, 500, "403", True, None, "admit"):
        yield from (
            {"verdicts": {of: {who: code}}} for of in ("fits_later", "never_fits") for who in ("flyte1", "job", "x")
        )
    yield from ({"verdicts": {"retry_after_seconds": it}} for it in (0, 1, 3600, 3601, 1.5, "2", True, None))


K8S = (
    "resource-tolerations", "gpu-resource-name", "default-tolerations", "add-tolerations-for-extended-resources",
    "accelerator-device-classes", "default-cpus",
)  # fmt: skip


def texts() -> Iterator[Any]:
    for day in DAYS:
        yield from ({"exemptions": [{**DATED, "until": day}]}, {"overrides": [{"project": "p", "until": day}]})
    for text in TEXTS:
        for key in ("project", "domain", "workflow", "task", "org"):
            for others in ({}, {"project": "p"}, {"mode": "audit"}, {"mode": None}):
                yield {"overrides": [{**others, key: text}]}
        yield from ({"exemptions": [{**DATED, "match": {key: text}}]} for key in ("project", "domain", "namespace"))
        yield from ({"exemptions": [{**DATED, key: it}]} for key, it in (("reason", text), ("skip", [text])))
        yield from ({"domains": it} for it in ([{"id": text}], {"id": text}, [{"id": "a", "name": text}]))
        yield {"configmap": {"a": {"domains": [{"id": text}]}}}
    for template in TEMPLATES:
        yield from (
            {"namespace_mapping": {"template": template}},
            {"server": {"namespace_mapping": {"template": template}}},
        )


def tolerations() -> Iterator[Any]:
    values = {
        "key": (None, "", "a", "a b", 5), "operator": (None, "", "Equal", "Exists", "Exist"),
        "value": (None, "", "b", "b c"), "effect": (None, "NoExecute", "NoSchedule", "No"),
        "tolerationSeconds": (None, 0, 1.5, "5", 2**63),
    }  # fmt: skip
    for each in itertools.product(*values.values()):
        stated = {key: value for key, value in zip(values, each, strict=True) if value is not None}
        yield {"plugins": {"k8s": {"default-tolerations": stated}}}
    for name in NAMES:
        yield {"plugins": {"k8s": {"interruptible-tolerations": [{"key": name, "value": name}]}}}
        yield {"plugins": {"k8s": {"interruptible-tolerations": [{"key": name, "value": None, "operator": "Exists"}]}}}


def settings_of_flyte_2() -> Iterator[Any]:
    resources = ("cpu", "memory", "gpu", "storage", "mem", "ephemeralStorage")
    for side, name, it in itertools.product(("min", "max", "most"), resources, AMOUNTS):
        if it != {}:  # nothing is below it, so that nothing is said
            for stated in ({f"task_resource.{side}.{name}": it}, {"task_resource": {side: {name: it}}}):
                yield {"overrides": [{"domain": "d", **stated}]}
    for it in (True, False, "true", "", "~unset", None, 5, "x", {}, []):
        yield {"overrides": [{"domain": "d", "task_resource.mirror_limits_request": it}]}
        for settings in ({}, {"task_resource.max.cpu": 1}, {"task_resource": {"max": {"cpu": 1}}}):
            yield {"overrides": [{"domain": "d", "run.default_queue": it, **settings}]}
            yield {"overrides": [{"domain": "d", "run": {"default_queue": it}, **settings}]}


# What a JSON Schema cannot say, by the problem that `policy check` reports; docs/policy.md lists it.
CANNOT_SAY = {
    "is over the limit": {"secondary_defaults": {"cpu": {"request": 2, "limit": 1}}},
    "is not a whole number of pages": {"pod_limits": {"hugepages-2Mi": "3Mi"}},
    "the same resource as": {"pod_limits": {"mem": 1, "memory": 1}},
    "for the same tasks as": {"overrides": [{"project": "p"}, {"project": "p"}]},
    "duplicate key": {"configmap": {"a": {"task_resources": {}}, "b": {"task_resources": {}}}},
    "is too large": {"pod_limits": {"cpu": "1e600"}},
    "where a whole number is expected": {"verdicts": {"retry_after_seconds": 2.0}},
}


@pytest.mark.parametrize("generated", [amounts, names_of_resources, sections, texts, tolerations, settings_of_flyte_2])
def test_the_json_schema_and_the_check_say_the_same(generated: Callable[[], Iterator[Any]]) -> None:
    for data in generated():
        try:
            load(json.dumps(data), "p.yaml")
        except ProblemsError as error:
            said = str(error).splitlines()
            beyond = all(any(what in line for what in CANNOT_SAY) for line in said)
            assert not accepts(SCHEMA, data) or beyond, (data, said)
        else:
            assert accepts(SCHEMA, data), data


@pytest.mark.parametrize("what", CANNOT_SAY)
def test_what_a_json_schema_cannot_say_the_check_does(what: str) -> None:
    assert accepts(SCHEMA, CANNOT_SAY[what])
    assert what in "".join(problems(json.dumps(CANNOT_SAY[what])))


KEYS = st.sampled_from(
    [
        *("task_resources", "task_resource_defaults", "secondary_defaults", "plugins", "k8s", "defaults", "limits"),
        *("cpu", "memory", "mem", "gpu", "nvidia.com/gpu", "gpu-resource-name", "resource-tolerations", "spark"),
        *("default-cpus", "key", "operator", "value", "effect", "tolerationSeconds", "other"),
    ]
)
SCALARS = st.sampled_from(
    [None, True, 0, 1, -1, 2.5, "", "1", "500m", "amd.com/gpu", "Exists", "Equal", "NoExecute", "a b"]
)
DATA = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=3))
SOME_AMOUNTS = st.none() | st.dictionaries(st.sampled_from(["cpu", "gpu", "mem", "amd.com/gpu"]), SCALARS, max_size=3)
SOME_TOLERATIONS = st.fixed_dictionaries(
    {"operator": st.sampled_from(["Exists", "Equal", "", None])},
    optional={"key": SCALARS, "value": SCALARS, "effect": SCALARS, "tolerationSeconds": SCALARS},
)
BY_RESOURCE = st.dictionaries(KEYS, SOME_TOLERATIONS | st.lists(SOME_TOLERATIONS, max_size=2), max_size=2)
NEARLY = st.fixed_dictionaries(
    {},
    optional={
        "task_resources": DATA | st.fixed_dictionaries({}, optional={"defaults": SOME_AMOUNTS, "limits": SOME_AMOUNTS}),
        "secondary_defaults": SOME_AMOUNTS,
        "plugins": st.fixed_dictionaries(
            {}, optional={"k8s": st.fixed_dictionaries({"resource-tolerations": BY_RESOURCE | st.lists(BY_RESOURCE)})}
        ),
    },
)


@given(st.dictionaries(KEYS, DATA, max_size=3) | NEARLY | DATA)
def test_any_data_is_told_what_is_wrong_with_it_or_is_a_policy_by_the_json_schema_too(data: Any) -> None:
    try:
        load(json.dumps(data), "p.yaml")
    except ProblemsError as error:
        assert all(line.startswith("p.yaml:1:") for line in str(error).splitlines())  # noqa: PT017 - either is fine
    else:  # what surrounds the blocks in the values of other charts is beyond the schema
        assert accepts(SCHEMA, data) or not {*data} <= {*SCHEMA["properties"]}
