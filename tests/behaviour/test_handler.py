"""What a handler is: a class, an instance or a module with the callbacks, and what is said of one without."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Coroutine
from types import GenericAlias, ModuleType, SimpleNamespace
from typing import Any, cast

import pytest

from trio_websock.behaviour.handler import OPTIONAL, REQUIRED, BoundHandler, Handler, bind_handler, is_handler
from trio_websock.behaviour.reasons import Normal
from trio_websock.behaviour.results import Ok, Push, Result
from trio_websock.messages import Ping


class Plain:
    def init(self, args: object) -> Ok[object]:
        return Ok(args)

    def handle_in(self, message: str | bytes, state: object) -> Push[object]:
        return Push(message, state)


class Full(Handler[list[Any], object]):
    def init(self, args: object) -> Ok[list[Any]]:
        return Ok([args])

    def handle_in(self, message: str | bytes, state: list[Any]) -> Ok[list[Any]]:
        return Ok([*state, message])

    def handle_control(self, frame: object, state: list[Any]) -> Ok[list[Any]]:
        return Ok([*state, frame])

    def handle_info(self, info: object, state: list[Any]) -> Ok[list[Any]]:
        return Ok([*state, info])

    def terminate(self, reason: object, state: list[Any]) -> list[Any]:
        return [*state, reason]


class Least(Handler[Any, Any]):
    def init(self, args: object) -> Ok[object]:
        return Ok(args)

    def handle_in(self, message: str | bytes, state: object) -> Ok[object]:
        return Ok(state)


class Coroutines(Handler[int, object]):
    async def init(self, args: object) -> Result[int]:
        return Ok(0)

    async def handle_in(self, message: str | bytes, state: int) -> Result[int]:
        return Push(message, state + 1)


def module_with(**callbacks: object) -> ModuleType:
    module = ModuleType("chat")
    vars(module).update(callbacks)
    return module


def init(args: object) -> Ok[object]:
    return Ok(args)


def handle_in(message: str | bytes, state: object) -> Push[object]:
    return Push(message, state)


class Statics:
    init = staticmethod(init)

    @classmethod
    def handle_in(cls, message: str | bytes, state: object) -> Push[object]:
        return Push(message, state)


class Dispatching:
    init = functools.partialmethod(lambda self, extra, args: Ok(args), "extra")

    @functools.singledispatchmethod
    def handle_in(self, message: object, state: object) -> Ok[object]:
        return Ok(state)

    @handle_in.register
    def _(self, message: str, state: object) -> Push[object]:
        return Push(message, state)


class Proxy:
    def __getattr__(self, name: str) -> object:
        return getattr(Plain(), name)


SHAPES = [
    pytest.param(Plain, "Plain", id="class"),
    pytest.param(Plain(), "Plain", id="instance"),
    pytest.param(module_with(init=init, handle_in=handle_in), "chat", id="module"),
    pytest.param(SimpleNamespace(init=init, handle_in=handle_in), "SimpleNamespace", id="duck"),
    pytest.param(Statics, "Statics", id="static and class methods"),
    pytest.param(Dispatching, "Dispatching", id="partial and dispatching methods"),
    pytest.param(Proxy(), "Proxy", id="proxy"),
]


def run_sync(coroutine: object) -> object:
    with pytest.raises(StopIteration) as caught:
        cast("Coroutine[Any, Any, object]", coroutine).send(None)
    return caught.value.value


@pytest.mark.parametrize(("handler", "name"), SHAPES)
def test_a_handler_of_any_shape_is_bound_and_named(handler: object, name: str) -> None:
    assert bind_handler(handler).name == name


@pytest.mark.parametrize(("handler", "name"), SHAPES)
def test_a_handler_of_any_shape_has_callbacks(handler: object, name: str) -> None:
    callbacks = bind_handler(handler).open()
    assert (callbacks.init("args"), callbacks.handle_in("a", 1)) == (Ok("args"), Push("a", 1))


@pytest.mark.parametrize(("handler", "name"), SHAPES)
def test_a_handler_of_any_shape_is_told_from_an_application_function(handler: object, name: str) -> None:
    assert is_handler(handler)


@pytest.mark.parametrize("handler", [Full, Full()], ids=["class", "instance"])
def test_a_handler_may_have_all_five_callbacks(handler: object) -> None:
    callbacks = bind_handler(handler).open()
    assert callbacks.handle_control is not None
    assert callbacks.terminate is not None
    assert callbacks.init(1) == Ok([1])
    assert callbacks.handle_in("a", []) == Ok(["a"])
    assert callbacks.handle_control(Ping(b""), []) == Ok([Ping(b"")])
    assert callbacks.handle_info("b", []) == Ok(["b"])
    assert callbacks.terminate(Normal(), []) == [Normal()]


def test_callbacks_may_be_coroutines() -> None:
    callbacks = bind_handler(Coroutines).open()
    assert (run_sync(callbacks.init(None)), run_sync(callbacks.handle_in("a", 0))) == (Ok(0), Push("a", 1))


@pytest.mark.parametrize("handler", [Least, Least(), Plain, Plain(), module_with(init=init, handle_in=handle_in)])
def test_handle_control_and_terminate_are_optional(handler: object) -> None:
    callbacks = bind_handler(handler).open()
    assert (callbacks.handle_control, callbacks.terminate) == (None, None)


@pytest.mark.parametrize(
    ("handler", "name"),
    [
        pytest.param(Least, "Least", id="Handler subclass"),
        pytest.param(Least(), "Least", id="instance of one"),
        pytest.param(Plain, "Plain", id="class"),
        pytest.param(Plain(), "Plain", id="instance"),
        pytest.param(module_with(init=init, handle_in=handle_in), "chat", id="module"),
    ],
)
def test_handle_info_is_required_as_soon_as_something_is_sent(handler: object, name: str) -> None:
    callbacks = bind_handler(handler).open()
    with pytest.raises(TypeError) as caught:
        callbacks.handle_info({"a": 1}, 0)
    assert str(caught.value) == f"handler {name} was sent {{'a': 1}} but has no handle_info"


def test_what_a_subclass_leaves_out_does_nothing_when_called_by_hand() -> None:
    handler = Least()
    assert (handler.handle_control(Ping(b""), 5), handler.terminate(Normal(), 5)) == (Ok(5), None)


def test_a_callback_inherited_from_another_handler_counts() -> None:
    class Child(Full):
        pass

    callbacks = bind_handler(Child).open()
    assert callbacks.handle_control is not None
    assert callbacks.terminate is not None


def test_a_class_gives_each_connection_an_instance_of_its_own() -> None:
    bound = bind_handler(Plain)
    first, second = bound.open(), bound.open()
    assert first.init.__self__ is not second.init.__self__  # type: ignore[attr-defined]  # bound methods


def test_an_instance_is_shared_by_all_connections() -> None:
    handler = Plain()
    bound = bind_handler(handler)
    assert {bound.open().init.__self__ for _ in range(2)} == {handler}  # type: ignore[attr-defined]  # bound methods


def test_all_callbacks_of_a_connection_belong_to_one_instance() -> None:
    opened = bind_handler(Full).open()
    callbacks = [opened.init, opened.handle_in, opened.handle_control, opened.handle_info, opened.terminate]
    assert len({callback.__self__ for callback in callbacks}) == 1  # type: ignore[union-attr]  # bound methods


def test_binding_makes_no_instance() -> None:
    class Counted(Plain):
        made = 0

        def __init__(self) -> None:
            Counted.made += 1

    bind_handler(Counted)
    assert Counted.made == 0


@pytest.mark.parametrize(
    ("handler", "missing"),
    [
        pytest.param(type("Empty", (), {}), "Empty has no init and no handle_in", id="class without any"),
        pytest.param(type("Empty", (), {})(), "Empty has no init and no handle_in", id="instance without any"),
        pytest.param(ModuleType("empty"), "empty has no init and no handle_in", id="module without any"),
        pytest.param(type("Mute", (), {"init": init}), "Mute has no handle_in", id="class without handle_in"),
        pytest.param(type("Late", (), {"handle_in": handle_in}), "Late has no init", id="class without init"),
        pytest.param(module_with(init=init), "chat has no handle_in", id="module without handle_in"),
        pytest.param(type("Sub", (Handler,), {"init": init}), "Sub has no handle_in", id="subclass without handle_in"),
        pytest.param(type("Sub", (Handler,), {}), "Sub has no init and no handle_in", id="subclass without any"),
        pytest.param(Handler, "Handler has no init and no handle_in", id="Handler itself"),
        pytest.param(type("Nil", (Plain,), {"init": None}), "Nil has no init", id="None in its place"),
        pytest.param(None, "NoneType has no init and no handle_in", id="None"),
    ],
)
def test_a_handler_that_lacks_a_required_callback_is_refused(handler: object, missing: str) -> None:
    with pytest.raises(TypeError) as caught:
        bind_handler(handler)
    assert str(caught.value) == f"handler {missing}"


@pytest.mark.parametrize("callback", ["init", "handle_in", "handle_control", "handle_info", "terminate"])
@pytest.mark.parametrize("shape", [lambda handler: handler, lambda handler: handler()], ids=["class", "instance"])
def test_a_callback_that_cannot_be_called_is_refused(shape: Any, callback: str) -> None:
    handler = type("Broken", (Plain,), {callback: 5})
    with pytest.raises(TypeError) as caught:
        bind_handler(shape(handler))
    assert str(caught.value) == f"{callback} of handler Broken is not callable: 5"


def test_callables_of_any_kind_may_be_callbacks() -> None:
    handler = SimpleNamespace(init=functools.partial(init), handle_in=handle_in, terminate=print)
    callbacks = bind_handler(handler).open()
    assert (callbacks.init(5), callbacks.terminate) == (Ok(5), print)


@pytest.mark.parametrize(
    "candidate", [init, lambda request: None, functools.partial(init), print, None, 5, SimpleNamespace()]
)
def test_an_application_function_is_no_handler(candidate: object) -> None:
    assert not is_handler(candidate)


@pytest.mark.parametrize(
    "candidate",
    [
        type("Empty", (), {}),
        ModuleType("empty"),
        SimpleNamespace(init=init),
        SimpleNamespace(handle_in=handle_in),
        Full(),
    ],
)
def test_what_is_meant_as_a_handler_is_told_so_even_if_incomplete(candidate: object) -> None:
    assert is_handler(candidate)


def test_bind_handler_gives_a_bound_handler() -> None:
    assert isinstance(bind_handler(Plain), BoundHandler)


def test_a_class_that_needs_arguments_is_refused_when_serving_starts() -> None:
    class Demanding(Plain):
        def __init__(self, database: object) -> None:
            self.database = database

    with pytest.raises(TypeError, match=r"handler Demanding needs arguments .*'database'.* hand over an instance"):
        bind_handler(Demanding)


def test_a_class_without_a_signature_to_look_at_is_taken_as_it_is() -> None:
    class Opaque(Plain):
        __signature__ = "no signature at all"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("inspect.signature", lambda _: (_ for _ in ()).throw(ValueError))
        assert bind_handler(Opaque).name == "Opaque"


def test_a_class_with_its_type_arguments_is_the_class() -> None:
    class Typed(Handler[int, str]):
        def init(self, args: object) -> Ok[int]:
            return Ok(0)

        def handle_in(self, message: str | bytes, state: int) -> Ok[int]:
            return Ok(state)

    class Generic(Typed):
        __class_getitem__ = classmethod(GenericAlias)

    assert is_handler(Generic[int])
    assert bind_handler(Generic[int]).open().init(None) == Ok(0)


def test_something_to_call_that_happens_to_have_an_init_is_an_application() -> None:
    class Application:
        def init(self) -> None: ...

        def __call__(self, request: object) -> None: ...

    assert not is_handler(Application())


@pytest.mark.parametrize("name", REQUIRED + OPTIONAL)
def test_a_subclass_may_call_what_a_callback_is_given_what_it_likes(name: str) -> None:
    # Type checkers refuse another name where the base class lets a caller use its own.
    _, *given = inspect.signature(getattr(Handler, name)).parameters.values()
    assert {parameter.kind for parameter in given} == {inspect.Parameter.POSITIONAL_ONLY}


class Unmade(Plain):
    def __init__(self) -> None:
        raise RuntimeError("no database")


def test_a_class_that_cannot_make_an_instance_fails_as_its_init_would() -> None:
    callbacks = bind_handler(Unmade).open()
    with pytest.raises(RuntimeError, match="no database"):
        callbacks.init("args")


def test_what_is_called_first_is_known_by_its_name() -> None:
    assert [bind_handler(handler).open().first for handler in (Unmade, Plain, Plain())] == ["__init__", "init", "init"]


def test_after_such_a_failure_there_is_no_terminate() -> None:
    callbacks = bind_handler(Unmade).open()
    assert (callbacks.handle_control, callbacks.terminate) == (None, None)
