"""Headless Chromium, with one blank window after each test."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

PATIENCE = 30  # seconds until a test gives up


@pytest.fixture(scope="module")
def browser(certificates: Any) -> Iterator[Any]:
    if os.environ.get("CI") != "true":  # there its absence is an error
        pytest.importorskip("selenium", reason="selenium is not installed")
    from selenium import webdriver

    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        missing = "chromium and chromedriver are not installed"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu", "window-size=1100,760"):
        options.add_argument(f"--{flag}")
    options.add_argument(f"--ignore-certificate-errors-spki-list={key_fingerprint(certificates)}")
    opened = webdriver.Chrome(options, webdriver.ChromeService(driver))
    opened.set_script_timeout(PATIENCE)
    yield opened
    opened.quit()


def key_fingerprint(certificates: Any) -> str:
    """What Chromium calls the certificate whose key it shall trust."""
    certificate = x509.load_pem_x509_certificate(certificates.leaf.cert_chain_pems[0].bytes())
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(key).digest()).decode()


@pytest.fixture(autouse=True)
def _one_blank_window(browser: Any) -> Iterator[None]:
    yield
    for window in browser.window_handles[1:]:
        browser.switch_to.window(window)
        browser.close()
    browser.switch_to.window(browser.window_handles[0])
    browser.get("about:blank")
