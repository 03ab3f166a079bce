"""pytest plugin: an HLS project's bits as a contract.

Active through the entry point ``pytest11`` as soon as ``toolkit`` is installed. Fixtures:

``hls_project``     factory: Keras model, file, trained folder or hls4ml folder to a project, kept in the artifact store
``emulator``        factory: the project's bits without a compiler
``csim``            factory: the project's bits from g++
``golden_csim``     compares a project with committed ``.npz`` vectors
``assert_bit_exact``, ``assert_no_overflow``, ``assert_estimate``, ``assert_merit``   the same as the functions below

The emulator answers first; csim proves: it runs when a golden was made from another project than the
one tested (always with ``--csim``, never with ``--no-csim``), and wherever a test asks for ``csim``.
csim compiles and runs a project's C++ with the rights of whoever runs pytest: of a stranger's folder, use
``--no-csim`` until it has been read.

TensorFlow, hls4ml and NumPy are imported only when a fixture is used.
"""

from __future__ import annotations

import contextlib
import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from toolkit import names
from toolkit.errors import StoreError, ToolkitError, ToolNotFound, UnsupportedLayer, nearest

if TYPE_CHECKING:
    from toolkit.config import HlsConfig
    from toolkit.data import Dataset
    from toolkit.emulation import Emulator
    from toolkit.hls.csim import CsimLibrary
    from toolkit.records import Array, Estimate, Figure, HlsProject, LayerProfile

    Inputs = Array | list[Array]

GOLDEN_SCHEMA = 1
SHOWN = 5  # differing values in a message
NO_CSIM = "compiles C++; run without --no-csim"
MARKERS = {
    "csim": "compiles C++ with g++ (every test that asks for the csim fixture); off with --no-csim",
    "golden": "compares an HLS project with committed vectors (every test that asks for golden_csim)",
}


# --- options and markers ---


# Each is also --toolkit-NAME, which it keeps where a conftest.py or another plugin has an option of the short name.
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "csim": {
        "action": "store_true",
        "default": None,
        "dest": "toolkit_csim",
        "help": "prove every golden with g++ as well",
    },
    "no-csim": {
        "action": "store_false",
        "default": None,
        "dest": "toolkit_csim",
        "help": "compile nothing: emulator only, skip csim tests",
    },
    "csim-jobs": {
        "type": int,
        "default": 0,
        "metavar": "N",
        "dest": "toolkit_csim_jobs",
        "help": "compilers and threads at a time; 0: all cores",
    },
    "update-golden": {
        "action": "store_true",
        "default": False,
        "dest": "toolkit_update_golden",
        "help": "write golden vectors from csim instead of comparing",
    },
}
SHORT_NAMES = pytest.StashKey[frozenset[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    for name, settings in OPTIONS.items():
        option_group(parser).addoption(f"--toolkit-{name}", **settings)


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config, parser: pytest.Parser) -> Iterator[None]:
    """Take the short names that nobody else has, once everybody had a chance."""
    yield
    free = frozenset(name for name in OPTIONS if is_free(parser, f"--{name}"))
    for name in free:
        option_group(parser).addoption(f"--{name}", **OPTIONS[name])
    early_config.stash[SHORT_NAMES] = free


def option_group(parser: pytest.Parser) -> Any:
    return parser.getgroup("toolkit", "HLS projects (toolkit)")


def is_free(parser: pytest.Parser, option: str) -> bool:
    """Whether no option of this name is known."""
    try:
        _, unknown = parser.parse_known_and_unknown_args([option])
    except (pytest.UsageError, SystemExit):  # it is known, and wants a value
        return False
    return option in unknown


def option_name(config: pytest.Config, name: str) -> str:
    """How this session spells an option."""
    return f"--{name}" if name in config.stash.get(SHORT_NAMES, ()) else f"--toolkit-{name}"


def pytest_configure(config: pytest.Config) -> None:
    for name, meaning in MARKERS.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if uses(item, "csim"):
            item.add_marker(pytest.mark.csim)
        if uses(item, "golden_csim"):
            item.add_marker(pytest.mark.golden)
        if item.get_closest_marker("csim") and config.getoption("toolkit_csim") is False:
            item.add_marker(pytest.mark.skip(reason=NO_CSIM))


def uses(item: pytest.Item, fixture: str) -> bool:
    """Whether a test asks for this plugin's fixture, not for one of its suite's own with the same name."""
    found = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {}).get(fixture, ())
    return bool(found) and found[-1].func.__module__ == __name__


# --- bits ---


def assert_bit_exact(expected: Any, got: Any, *, what: str = "outputs") -> None:
    """Fail unless two arrays, or two mappings of layer names to arrays, are equal.

    The message has count, total, the first five (index, expected, got) and the largest error in LSB,
    the coarsest power of two on which all values lie. There is no tolerance.
    """
    __tracebackhide__ = True
    if isinstance(expected, Mapping) and isinstance(got, Mapping):
        assert_layers_bit_exact(expected, got)
    elif message := difference(expected, got, what):
        raise AssertionError(message)


def assert_layers_bit_exact(expected: Mapping[str, Any], got: Mapping[str, Any]) -> None:
    """Traces, layer by layer in order; the first that differs is told, the others are counted."""
    __tracebackhide__ = True
    missing = sorted(set(expected) ^ set(got))
    if missing:
        raise AssertionError(f"layers must be the same, only one side has {', '.join(missing)}")
    found = {name: message for name in expected if (message := difference(expected[name], got[name], f"layer {name}"))}
    if found:
        first, *others = found.values()
        after = f"\n  after it, {len(others)} more of {len(expected)} layers differ" if others else ""
        raise AssertionError(first + after)


def difference(expected: Any, got: Any, what: str) -> str | None:
    """What differs between two arrays, or ``None`` when they are equal, shape included."""
    import numpy as np

    left, right = np.asarray(expected), np.asarray(got)
    if left.shape != right.shape:
        return f"{what} must have shape {list(left.shape)}, got {list(right.shape)}"
    left, right = left.astype(np.float64), right.astype(np.float64)
    differs = ~((left == right) | (np.isnan(left) & np.isnan(right)))
    if not differs.any():
        return None
    lsb = common_lsb(left, right)
    largest = float(np.max(np.abs(left - right)[differs]))
    rows = [
        f"    {list(map(int, index))}: expected {left[tuple(index)]:.9g}, got {right[tuple(index)]:.9g}"
        for index in np.argwhere(differs)[:SHOWN]
    ]
    return "\n".join(
        [
            f"{what} must be equal bit for bit: {int(differs.sum()):,} of {differs.size:,} differ, "
            f"largest error {largest / lsb:g} LSB (LSB {lsb:g})",
            f"  first {len(rows)} (index, expected, got):",
            *rows,
        ]
    )


def common_lsb(*arrays: Array) -> float:
    """The largest power of two of which every finite value is a whole multiple; 1 when all are zero.

    >>> import numpy as np
    >>> common_lsb(np.array([0.5, 0.75, -3.0]))
    0.25
    """
    import numpy as np

    values = np.concatenate([array.ravel() for array in arrays])
    values = values[np.isfinite(values) & (values != 0)]
    if values.size == 0:
        return 1.0
    mantissas, exponents = np.frexp(np.abs(values))
    integers = np.ldexp(mantissas, 53).astype(np.int64)
    trailing = np.log2((integers & -integers).astype(np.float64))
    return float(np.ldexp(1.0, int((exponents - 53 + trailing).min())))


def assert_no_overflow(project: HlsProject, x: Inputs, *, saturation: Literal["allow", "fail"] = "allow") -> None:
    """Fail when any value of any layer wraps around on inputs ``x``; with ``saturation="fail"``, or saturates.

    Saturation is what a quantizer with ``SAT`` means to do; a wrap-around is always wrong. The emulator
    counts accumulators and results before the cast.
    """
    __tracebackhide__ = True
    from toolkit.emulation import emulate

    profile = emulate(project).profile(x)
    counts = {layer.layer: overflow_count(layer, saturation) for layer in profile}
    over = [layer for layer in profile if counts[layer.layer]]
    if over:
        rows = [
            f"    {layer.layer}: {counts[layer.layer]:,} of {layer.total:,} values leave {layer.precision}, "
            f"[{layer.type_minimum:g}, {layer.type_maximum:g}], or the layer's accumulator"
            for layer in over[:SHOWN]
        ]
        raise AssertionError(
            "\n".join([f"no value may leave its type: {len(over)} of {len(profile)} layers overflow", *rows])
        )


def overflow_count(layer: LayerProfile, saturation: str) -> int:
    """Values that count as overflow; where wraps were not counted apart, those of types that wrap."""
    if saturation == "fail":
        return layer.overflows or 0
    if layer.wrapped is not None:
        return layer.wrapped
    return 0 if "SAT" in layer.precision else layer.overflows or 0


# --- figures ---


@dataclass(frozen=True)
class Comparison:
    """A condition on a number, readable as English."""

    words: str
    bound: float
    holds: Callable[[float], bool] = field(compare=False)

    def __str__(self) -> str:
        return f"{self.words} {self.bound:g}"


def LessThan(bound: float) -> Comparison:  # noqa: N802 - reads as English in a test: dsp=LessThan(220)
    """The figure is below ``bound``."""
    return Comparison("less than", bound, lambda value: value < bound)


def AtMost(bound: float) -> Comparison:  # noqa: N802
    """The figure is not above ``bound``."""
    return Comparison("at most", bound, lambda value: value <= bound)


def MoreThan(bound: float) -> Comparison:  # noqa: N802
    """The figure is above ``bound``."""
    return Comparison("more than", bound, lambda value: value > bound)


def AtLeast(bound: float) -> Comparison:  # noqa: N802
    """The figure is not below ``bound``."""
    return Comparison("at least", bound, lambda value: value >= bound)


def EqualTo(bound: float) -> Comparison:  # noqa: N802
    """The figure is exactly ``bound``."""
    return Comparison("equal to", bound, lambda value: value == bound)


def assert_estimate(project: HlsProject | Estimate, *, worst_case: bool = False, **wanted: Any) -> Estimate:
    """Fail unless every named figure of a project's estimate meets its condition.

    Conditions are comparisons (``dsp=LessThan(220)``), numbers (exact) or, for ``fits``, a bool.
    With ``worst_case`` every condition must hold over the whole interval of its figure. Returns the
    estimate.
    """
    __tracebackhide__ = True
    from toolkit.records import Estimate

    found = project if isinstance(project, Estimate) else estimated(project)
    require("the estimate", {name: broken(found, name, rule, worst_case) for name, rule in wanted.items()})
    return found


def require(what: str, problems: Mapping[str, str | None]) -> None:
    """Fail with every condition that does not hold; ``None`` stands where one does."""
    __tracebackhide__ = True
    told = [line for line in problems.values() if line]
    if told:
        raise AssertionError("\n".join([f"{len(told)} of {len(problems)} conditions on {what} fail:", *told]))


def estimated(project: HlsProject) -> Estimate:
    from toolkit.estimation import estimate

    return estimate(project)


def broken(estimate: Estimate, name: str, condition: Any, worst_case: bool) -> str | None:
    """What is wrong with one figure; ``None`` when its condition holds."""
    if name == "fits":
        full = ", ".join(f"{key} {figure.value:.0f} %" for key, figure in estimate.utilization.items())
        return None if estimate.fits is condition else f"    fits: must be {condition}, got {estimate.fits} ({full})"
    return broken_figure(name, figure_named(estimate, name), condition, worst_case)


def broken_figure(name: str, figure: Figure, condition: Any, worst_case: bool) -> str | None:
    """What is wrong with a figure; ``None`` when its condition holds."""
    rule = condition if isinstance(condition, Comparison) else EqualTo(float(condition))
    if figure.bound:
        return f"    {name}: must be {rule}, only a bound is known: {figure}; {figure.note}"
    values = [figure.value]
    if worst_case:
        values += [bound for bound in (figure.low, figure.high) if bound is not None]
    return None if all(rule.holds(value) for value in values) else f"    {name}: must be {rule}, got {figure}"


def figure_named(estimate: Estimate, name: str) -> Figure:
    """A figure of an estimate; raises ``ToolkitError`` with the nearest name."""
    from toolkit.records import Figure

    figures: dict[str, Figure] = {key: value for key, value in vars(estimate).items() if isinstance(value, Figure)}
    return figure_among({**figures, **estimate.figures}, name, "an estimate", ("fits",))


def figure_among(figures: Mapping[str, Figure], name: str, what: str, others: tuple[str, ...] = ()) -> Figure:
    """A figure by name; raises ``ToolkitError`` with the nearest name."""
    if name not in figures:
        known = sorted([*figures, *others])
        raise ToolkitError(f'"{name}" is not a figure of {what}{nearest(name, known)}; choose {", ".join(known)}')
    return figures[name]


def assert_merit(
    subject: Any,
    dataset: Dataset | str | Path,
    *,
    count: int | None = None,
    float_model: Any = None,
    worst_case: bool = False,
    **wanted: Any,
) -> Mapping[str, Figure]:
    """Fail unless every named figure of merit on the first ``count`` test samples (default all) meets its condition.

    ``subject`` is a project (which the emulator runs), an emulator, a csim library, a Keras model or a
    ``TrainRecord``; ``dataset`` a ``Dataset``, a name or a path, by whose own metric and those beside it the outputs
    are judged: ``rmse=LessThan(0.2)``, ``accuracy=AtLeast(0.9)``. ``float_model`` (a Keras model or its outputs) is
    what ``agreement`` and ``sqnr_db`` compare a design with. With ``worst_case`` conditions hold over the whole
    interval of a figure. Returns all figures.
    """
    __tracebackhide__ = True
    found = merits_of(subject, dataset, count, float_model)
    require_merits(found, wanted, worst_case)
    return found


def require_merits(found: Mapping[str, Figure], wanted: Mapping[str, Any], worst_case: bool) -> None:
    """Fail unless every condition on a figure of merit holds."""
    __tracebackhide__ = True
    figures = {name: figure_among(found, name, "merit of this dataset") for name in wanted}
    problems = {name: broken_figure(name, figures[name], rule, worst_case) for name, rule in wanted.items()}
    require("the figures of merit", problems)


def merits_of(subject: Any, dataset: Dataset | str | Path, count: int | None, float_model: Any) -> Mapping[str, Figure]:
    """Figures of merit of a design, or of a Keras model."""
    from toolkit.comparison.rows import evaluate_engine
    from toolkit.data import as_dataset
    from toolkit.emulation import emulate
    from toolkit.records import HlsProject, TrainRecord

    data = as_dataset(dataset)
    engine = emulate(subject) if isinstance(subject, HlsProject) else subject
    if hasattr(engine, "trace"):
        return evaluate_engine(engine, data, count, float_model).figures
    from toolkit.training.train import measure

    return measure(keras_model(engine.model if isinstance(engine, TrainRecord) else engine), data, count=count)


def keras_model(value: Any) -> Any:
    """A live Keras model; raises ``ToolkitError`` for anything else that is to be judged."""
    import keras

    if not isinstance(value, keras.Model):
        kinds = "an HlsProject, an emulator, a csim library, a Keras model or a TrainRecord"
        raise ToolkitError(f"what is judged must be {kinds}, got {names.shown(value)}")
    return value


# --- projects ---


def cached_project(source: Any, config: HlsConfig | None) -> HlsProject:
    """The project of a model, written once per model, configuration and package versions.

    ``source`` is a project, a live model, a ``.keras``/``.h5`` file, a folder that ``train`` wrote, or
    the folder of an hls4ml project, which is read where it lies. Only a project that has to be written
    imports TensorFlow.
    """
    from toolkit.config import HlsConfig
    from toolkit.hls.folder import open_project
    from toolkit.hls.project import load_project, write_project
    from toolkit.quiet import start_tensorflow
    from toolkit.records import HlsProject
    from toolkit.store import artifact, digest, package_versions

    if isinstance(source, HlsProject):
        return source
    if isinstance(source, str | Path):
        source = Path(source)
        if (source / "firmware").is_dir():
            return open_project(source)
        source = source / "model.keras" if source.is_dir() else source
    wanted = config or HlsConfig()
    key = digest("pytest", model_digest(source), wanted, package_versions())
    with artifact("projects", key) as folder:
        if not folder.complete:
            start_tensorflow()
            write_project(source, wanted, folder / "project")
    return load_project(folder / "project")


def model_digest(model: Any) -> str:
    """Digest of a model file, or of a live model's architecture and weights."""
    import numpy as np

    from toolkit.store import digest

    if isinstance(model, Path):
        try:
            return digest(model.read_bytes())
        except OSError as error:
            raise StoreError(f"a model must be a readable file or folder: {model}: {error.strerror}") from None
    return digest(model.to_json(), [np.asarray(weight) for weight in model.weights])


class Session:
    """What fixtures share within one pytest process."""

    def __init__(self, config: pytest.Config) -> None:
        self.prove: bool | None = config.getoption("toolkit_csim")
        self.update: bool = config.getoption("toolkit_update_golden")
        self.jobs: int = config.getoption("toolkit_csim_jobs")
        self.libraries: dict[str, CsimLibrary] = {}
        self.emulators: dict[str, Emulator] = {}

    def emulator(self, project: HlsProject) -> Emulator:
        """The project's emulator, made once."""
        from toolkit.emulation import emulate

        if project.digest not in self.emulators:
            self.emulators[project.digest] = emulate(project)
        return self.emulators[project.digest]

    def library(self, project: HlsProject) -> CsimLibrary:
        """The project's compiled library, made once here and once in the store."""
        from toolkit.hls.csim import build_csim

        if project.digest not in self.libraries:
            self.libraries[project.digest] = build_csim(project, jobs=self.jobs)
        return self.libraries[project.digest]


@pytest.fixture(scope="session")
def toolkit_session(pytestconfig: pytest.Config) -> Session:
    """Options and what is kept between tests."""
    return Session(pytestconfig)


def note(request: pytest.FixtureRequest, name: str, value: object) -> None:
    """Add a JUnit property to the running test, once."""
    pair = (f"toolkit.{name}", str(value))
    if pair not in request.node.user_properties:
        request.node.user_properties.append(pair)


@pytest.fixture
def hls_project(request: pytest.FixtureRequest) -> Callable[..., HlsProject]:
    """Factory ``hls_project(model, config=None, **hls)``: an HLS project, kept between tests and runs.

    ``hls`` are keys of ``HlsConfig`` that differ from ``config``: ``hls_project(model, reuse_factor=4)``.
    """

    def make(model: Any, config: HlsConfig | None = None, **hls: Any) -> HlsProject:
        from toolkit.config import HlsConfig

        wanted = (config or HlsConfig()).change(**hls) if hls else config
        project = cached_project(model, wanted)
        note(request, "project", project.digest)
        return project

    return make


@pytest.fixture
def emulator(request: pytest.FixtureRequest, toolkit_session: Session) -> Callable[[HlsProject], Emulator]:
    """Factory ``emulator(project)``: csim's bits without a compiler."""

    def make(project: HlsProject) -> Emulator:
        note(request, "project", project.digest)
        return toolkit_session.emulator(project)

    return make


@pytest.fixture
def csim(request: pytest.FixtureRequest, toolkit_session: Session) -> Callable[[HlsProject], CsimLibrary]:
    """Factory ``csim(project)``: the project compiled with g++. Skips the test with ``--no-csim``."""

    if toolkit_session.prove is False:
        pytest.skip(NO_CSIM)

    def make(project: HlsProject) -> CsimLibrary:
        note(request, "project", project.digest)
        library = toolkit_session.library(project)
        note(request, "engine", library.engine)
        return library

    return make


@pytest.fixture(name="assert_bit_exact")
def bit_exact_fixture() -> Callable[..., None]:
    """:func:`assert_bit_exact` without an import."""
    return assert_bit_exact


@pytest.fixture(name="assert_no_overflow")
def no_overflow_fixture(request: pytest.FixtureRequest) -> Callable[..., None]:
    """:func:`assert_no_overflow` without an import."""

    def check(project: HlsProject, x: Inputs, *, saturation: Literal["allow", "fail"] = "allow") -> None:
        __tracebackhide__ = True
        note(request, "project", project.digest)
        assert_no_overflow(project, x, saturation=saturation)

    return check


@pytest.fixture(name="assert_estimate")
def estimate_fixture(request: pytest.FixtureRequest) -> Callable[..., Estimate]:
    """:func:`assert_estimate` without an import; the figures asked for become JUnit properties."""

    def check(project: HlsProject | Estimate, *, worst_case: bool = False, **wanted: Any) -> Estimate:
        __tracebackhide__ = True
        result = assert_estimate(project)
        for name in wanted:
            note(request, name, result.fits if name == "fits" else figure_named(result, name))
        return assert_estimate(result, worst_case=worst_case, **wanted)

    return check


@pytest.fixture(name="assert_merit")
def merit_fixture(request: pytest.FixtureRequest, toolkit_session: Session) -> Callable[..., Mapping[str, Figure]]:
    """:func:`assert_merit` without an import; the figures asked for become JUnit properties."""

    def check(
        subject: Any,
        dataset: Dataset | str | Path,
        *,
        count: int | None = None,
        float_model: Any = None,
        worst_case: bool = False,
        **wanted: Any,
    ) -> Mapping[str, Figure]:
        __tracebackhide__ = True
        from toolkit.records import HlsProject

        if isinstance(subject, HlsProject):
            note(request, "project", subject.digest)
            subject = toolkit_session.emulator(subject)
        found = merits_of(subject, dataset, count, float_model)
        for name in wanted:
            note(request, name, figure_among(found, name, "merit of this dataset"))
        require_merits(found, wanted, worst_case)
        return found

    return check


# --- golden vectors ---


@dataclass(frozen=True)
class Golden:
    """Committed vectors: inputs, csim's outputs, and where they come from."""

    inputs: tuple[Array, ...]
    outputs: Array
    record: Mapping[str, Any]  # digests of arrays, project and firmware; engine, compiler, versions, test


@pytest.fixture
def golden_csim(request: pytest.FixtureRequest, toolkit_session: Session) -> Callable[..., None]:
    """Factory ``golden_csim(project, x=None, path=None)``: the project's outputs equal its golden's.

    ``x`` are the inputs of a golden to be made, or a function that gives them (an existing golden keeps
    its own); a project's ``tb_data`` inputs serve when ``x`` is not given. ``path`` defaults to
    ``golden/<file>-<test>.npz`` beside the test file. ``--update-golden`` writes, with csim's outputs; a
    missing golden fails.
    """

    def check(
        project: HlsProject, x: Inputs | Callable[[], Inputs] | None = None, path: str | Path | None = None
    ) -> None:
        __tracebackhide__ = True
        file = Path(path) if path else default_golden(request)
        note(request, "project", project.digest)
        note(request, "golden", file)
        if toolkit_session.update:
            inputs = x() if callable(x) else x
            write_golden(file, new_golden(toolkit_session, project, inputs, request.node.nodeid))
        elif not file.is_file():
            raise AssertionError(f"golden {shown(file)} does not exist; make it with\n    {update_command(request)}")
        else:
            compare_golden(toolkit_session, request, project, read_golden(file), file)

    return check


def default_golden(request: pytest.FixtureRequest) -> Path:
    """``golden/<file>-<test>.npz`` beside the test file."""
    name = re.sub(r"[^\w.-]+", "_", request.node.name).strip("_")
    return Path(request.path).parent / "golden" / f"{Path(request.path).stem}-{name}.npz"


def update_command(request: pytest.FixtureRequest) -> str:
    return f"pytest {shlex.quote(request.node.nodeid)} {option_name(request.config, 'update-golden')}"


def shown(path: Path) -> Path:
    """The path relative to the working directory, if it lies there."""
    with contextlib.suppress(ValueError):
        return path.resolve().relative_to(Path.cwd())
    return path


def new_golden(session: Session, project: HlsProject, x: Inputs | None, test: str) -> Golden:
    """Golden vectors from csim."""
    import numpy as np

    from toolkit.hls.csim import compiler_version
    from toolkit.hls.folder import folder_digest
    from toolkit.process import require_tool
    from toolkit.store import digest, package_versions

    if session.prove is False:
        raise ToolNotFound("golden vectors are csim's outputs; write them without --no-csim")
    arrays = [np.asarray(array, np.float32) for array in (inputs_of(project) if x is None else as_list(x))]
    library = session.library(project)
    outputs = np.asarray(library.predict(arrays if len(arrays) > 1 else arrays[0]), np.float32)
    record = {
        "schema": GOLDEN_SCHEMA,
        "digest": digest(arrays, outputs),
        "project": project.digest,
        "firmware": folder_digest(project.path),
        "engine": library.engine,
        "compiler": compiler_version(require_tool("g++")),
        "versions": package_versions(),
        "test": test,
    }
    return Golden(tuple(arrays), outputs, record)


def inputs_of(project: HlsProject) -> list[Array]:
    """The inputs of a project's ``tb_data``; raises ``DataError`` when there are none."""
    from toolkit.hls.vectors import read_vectors

    return list(read_vectors(project).inputs)


def as_list(x: Inputs) -> list[Array]:
    return list(x) if isinstance(x, list | tuple) else [x]


def write_golden(path: Path, golden: Golden) -> None:
    """Write a golden file; the same vectors and record give the same bytes."""
    import numpy as np

    from toolkit.store import write_bytes

    text = json.dumps(golden.record, sort_keys=True, indent=1)
    arrays = {f"input_{index}": array for index, array in enumerate(golden.inputs)}
    arrays |= {"outputs": golden.outputs, "record": np.frombuffer(text.encode(), np.uint8)}
    write_bytes(path, packed(arrays))


def packed(arrays: Mapping[str, Array]) -> bytes:
    """A compressed NPZ archive without dates, so equal arrays give equal bytes."""
    import io
    import zipfile

    import numpy as np

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, values in sorted(arrays.items()):
            entry = zipfile.ZipInfo(f"{name}.npy")
            entry.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(entry, "w") as stream:
                np.lib.format.write_array(stream, np.ascontiguousarray(values), allow_pickle=False)
    return buffer.getvalue()


def read_golden(path: Path) -> Golden:
    """Read a golden file; raises ``StoreError`` when it is damaged or its digest does not match."""
    import zipfile
    import zlib

    import numpy as np

    from toolkit.store import digest

    try:
        with np.load(path, allow_pickle=False) as arrays:
            record = json.loads(arrays["record"].tobytes())
            count = sum(name.startswith("input_") for name in arrays.files)
            golden = Golden(tuple(arrays[f"input_{index}"] for index in range(count)), arrays["outputs"], record)
        schema, expected = record["schema"], record["digest"]
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise StoreError(f"golden {path} cannot be read: {error}; write it again with --update-golden") from error
    if schema != GOLDEN_SCHEMA:
        raise StoreError(f"golden {path} has schema {schema}, this toolkit reads {GOLDEN_SCHEMA}; write it again")
    if digest(list(golden.inputs), golden.outputs) != expected:
        raise StoreError(f"golden {path}: its vectors do not match its digest {expected}; write it again")
    return golden


def compare_golden(
    session: Session, request: pytest.FixtureRequest, project: HlsProject, golden: Golden, file: Path
) -> None:
    """The emulator's answer, then csim's when it is needed as a proof."""
    __tracebackhide__ = True
    note(request, "golden_digest", golden.record["digest"])
    x = list(golden.inputs) if len(golden.inputs) > 1 else golden.inputs[0]
    emulated = False
    with contextlib.suppress(UnsupportedLayer):
        got, emulated = session.emulator(project).predict(x), True
        check_against(golden, got, "emulator", project, file, request)
    if proof_needed(session, project, golden) or not emulated:
        prove(session, request, project, golden, file, emulated)


def proof_needed(session: Session, project: HlsProject, golden: Golden) -> bool:
    """Whether csim has to repeat what the emulator said.

    When the golden was made from this very firmware, its vectors already are csim's outputs of it.
    """
    from toolkit.hls.folder import folder_digest

    return session.prove if session.prove is not None else golden.record["firmware"] != folder_digest(project.path)


def prove(
    session: Session, request: pytest.FixtureRequest, project: HlsProject, golden: Golden, file: Path, emulated: bool
) -> None:
    """csim's answer. Without a compiler the emulator's stands, with a warning, unless ``--csim`` was given."""
    __tracebackhide__ = True
    x = list(golden.inputs) if len(golden.inputs) > 1 else golden.inputs[0]
    if session.prove is False:
        pytest.skip(f"project {project.digest} cannot be emulated; run without --no-csim")
    try:
        got = session.library(project).predict(x)
    except ToolNotFound as error:
        if session.prove or not emulated:
            raise
        request.node.warn(pytest.PytestWarning(f"golden {shown(file)}: equal in the emulator, not proven: {error}"))
        return
    note(request, "engine", "g++")
    check_against(golden, got, "csim", project, file, request)


def check_against(
    golden: Golden, got: Any, engine: str, project: HlsProject, file: Path, request: pytest.FixtureRequest
) -> None:
    """Fail with what differs, which project the golden was made from, and how to accept the change."""
    __tracebackhide__ = True
    import numpy as np

    flat = np.concatenate([np.asarray(part).reshape(len(part), -1) for part in as_list(got)], axis=1)
    message = difference(golden.outputs, flat, f"{engine} outputs and golden {shown(file)}")
    if message is None:
        return
    made, versions = golden.record["project"], golden.record["versions"]
    now = "the same project" if made == project.digest else f"this is {project.digest}"
    raise AssertionError(
        f"{message}\n  golden made from project {made} by {golden.record['engine']} "
        f"(hls4ml {versions.get('hls4ml', '?')}), {now}\n  if the change is meant: {update_command(request)}"
    )


FIXTURES = frozenset({"hls_project", "emulator", "csim", "golden_csim"})


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """A user's mistake reads as one message, not as a traceback through the toolkit."""
    try:
        yield
    except ToolkitError as error:
        if not any(uses(item, fixture) for fixture in FIXTURES):
            raise
        raise pytest.fail.Exception(f"{type(error).__name__}: {error}", pytrace=False) from None
