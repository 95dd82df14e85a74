"""The pages of the examples, as people use them in a browser."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

if os.environ.get("CI") != "true":  # there its absence is an error
    pytest.importorskip("selenium", reason="selenium is not installed")
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

pytestmark = pytest.mark.browser

RunExample = Callable[..., AbstractContextManager[Any]]

PATIENCE = 30  # seconds until a test gives up


def until(browser: Any, condition: Callable[[], object]) -> None:
    WebDriverWait(browser, PATIENCE, poll_frequency=0.02).until(lambda _: condition())


def text_of(browser: Any, selector: str) -> list[str]:
    script = "return [...document.querySelectorAll(arguments[0])].map(e => e.textContent);"
    texts: list[str] = browser.execute_script(script, selector)
    return texts


def is_shown(browser: Any, element: str) -> bool:
    shown: bool = browser.find_element(By.ID, element).is_displayed()
    return shown


def join_chat(browser: Any, url: str, name: str, *, first: bool = False) -> str:
    """Open the chat, in a new tab unless it is the first; the tab's handle."""
    if not first:
        browser.switch_to.new_window("tab")
    browser.get(url)
    field = browser.find_element(By.ID, "name")
    field.clear()
    field.send_keys(name + "\n")
    handle: str = browser.current_window_handle
    return handle


def say(browser: Any, text: str) -> None:
    browser.find_element(By.ID, "draft").send_keys(text + "\n")


def test_two_tabs_chat(browser: Any, run_example: RunExample) -> None:
    with run_example("chat") as example:
        ada = join_chat(browser, example.url, "Ada", first=True)
        until(browser, lambda: text_of(browser, ".event") == ["You joined the room"])
        join_chat(browser, example.url, "Ben")
        until(browser, lambda: text_of(browser, "#people span:last-child") == ["Ada", "Ben (you)"])
        say(browser, "<b>hello</b>")
        until(browser, lambda: text_of(browser, ".said.mine .text") == ["<b>hello</b>"])
        browser.switch_to.window(ada)
        until(browser, lambda: text_of(browser, ".said:not(.mine) .text") == ["<b>hello</b>"])
        assert text_of(browser, ".event") == ["You joined the room", "Ben joined the room"]
        assert text_of(browser, "#here") == ["2 people here"]


def test_a_tab_that_closes_leaves_the_chat(browser: Any, run_example: RunExample) -> None:
    with run_example("chat") as example:
        ada = join_chat(browser, example.url, "Ada", first=True)
        join_chat(browser, example.url, "Ben")
        until(browser, lambda: len(text_of(browser, "#people li")) == 2)
        browser.close()
        browser.switch_to.window(ada)
        until(browser, lambda: text_of(browser, ".event")[-1] == "Ben left the room")
        assert text_of(browser, "#here") == ["Only you here"]


def test_a_tab_that_goes_elsewhere_leaves_the_chat_and_rejoins_when_it_comes_back(
    browser: Any, run_example: RunExample
) -> None:
    with run_example("chat") as example:
        ada = join_chat(browser, example.url, "Ada", first=True)
        ben = join_chat(browser, example.url, "Ben")
        until(browser, lambda: len(text_of(browser, "#people li")) == 2)
        browser.get("about:blank")
        browser.switch_to.window(ada)
        until(browser, lambda: text_of(browser, ".event")[-1] == "Ben left the room")
        browser.switch_to.window(ben)
        browser.back()
        until(browser, lambda: text_of(browser, "#people span:last-child") == ["Ada", "Ben (you)"])


def test_a_name_that_is_taken_is_refused_at_the_door_of_the_chat(browser: Any, run_example: RunExample) -> None:
    with run_example("chat") as example:
        join_chat(browser, example.url, "Ada", first=True)
        until(browser, lambda: is_shown(browser, "room"))
        join_chat(browser, example.url, "Ada")
        until(browser, lambda: text_of(browser, "#refusal") == ["Ada is already here: choose another name"])
        assert not is_shown(browser, "room")
        browser.find_element(By.ID, "name").send_keys("Ben\n")
        until(browser, lambda: is_shown(browser, "room"))


def test_the_chat_says_when_its_server_goes_and_comes_back_with_it(browser: Any, run_example: RunExample) -> None:
    with run_example("chat") as example:
        join_chat(browser, example.url, "Ada", first=True)
        until(browser, lambda: is_shown(browser, "room"))
        assert not is_shown(browser, "notice")
        example.interrupt()
        until(browser, lambda: text_of(browser, "#notice span")[0].startswith("The server went away."))
        assert text_of(browser, "#status") == ["Offline"]
    with run_example("chat", port=example.port):
        # By a script: once the page has tried on its own, and succeeded, there is no button to be seen.
        browser.execute_script("document.querySelector('#notice button').click();")
        until(browser, lambda: text_of(browser, "#status") == ["Online"])
        assert not is_shown(browser, "notice")
        assert text_of(browser, "#people span:last-child") == ["Ada (you)"]


def test_the_ticker_draws(browser: Any, run_example: RunExample) -> None:
    with run_example("ticker") as example:
        browser.get(example.url)
        points = "return document.getElementById('curve').points.numberOfItems;"
        until(browser, lambda: browser.execute_script(points) >= 3)
        assert text_of(browser, "#status") == ["Live"]
        assert float(text_of(browser, "#value")[0]) > 0


def test_the_ticker_pauses_and_resumes(browser: Any, run_example: RunExample) -> None:
    with run_example("ticker") as example:
        browser.get(example.url)
        button = browser.find_element(By.ID, "pause")
        until(browser, button.is_enabled)
        button.click()
        assert (button.text, button.get_attribute("aria-pressed")) == ("Resume", "true")
        button.click()
        value = text_of(browser, "#value")
        until(browser, lambda: text_of(browser, "#value") != value)


def test_the_page_of_the_app_shows_an_echo_to_a_watcher(browser: Any, run_example: RunExample) -> None:
    with run_example("app", APP_TOKEN="sesame") as example:
        browser.get(example.url)
        browser.find_element(By.CSS_SELECTOR, "#watch input").send_keys("sesame\n")
        until(browser, lambda: text_of(browser, "#lines li") == ["watching"])
        browser.find_element(By.CSS_SELECTOR, "#echo input").send_keys("hello\n")
        until(browser, lambda: text_of(browser, "#lines li") == ["a browser: 'hello'", "watching"])
        assert text_of(browser, "#echoes li") == ["hello"]


def test_the_page_of_the_app_says_that_a_watcher_was_refused(browser: Any, run_example: RunExample) -> None:
    with run_example("app", APP_TOKEN="sesame") as example:
        browser.get(example.url)
        browser.find_element(By.CSS_SELECTOR, "#watch input").send_keys("wrong\n")
        until(browser, lambda: text_of(browser, "#lines li") == ["Refused, or the connection was lost."])


@pytest.mark.parametrize("name", ["chat", "ticker", "app"])
def test_no_page_logs_an_error(browser: Any, run_example: RunExample, name: str) -> None:
    with run_example(name) as example:
        browser.get_log("browser")
        browser.get(example.url)
        assert browser.get_log("browser") == []
