"""A headless Chromium, spoken to by WebDriver's JSON: no package, no network."""
import base64
import fcntl
import http.client
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time

KEYS = {"Enter": "\ue007", "Escape": "\ue00c", "Shift": "\ue008", "Left": "\ue012", "Up": "\ue013",
        "Right": "\ue014", "Down": "\ue015", "Tab": "\ue004"}


def leave_the_network():
    """Runs this script again where only the loopback is, if the system lets it."""
    if os.environ.get("WEFT_PAGE_TEST_ALONE"):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:  # ifconfig lo up
            request = struct.pack("16sh14x", b"lo", 0)
            flags = struct.unpack("16sh14x", fcntl.ioctl(s, 0x8913, request))[1]
            fcntl.ioctl(s, 0x8914, struct.pack("16sh14x", b"lo", flags | 1))
        return
    alone = ["unshare", "-n" if os.geteuid() == 0 else "-rn"]
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode != 0:
        return  # a container may forbid it; what the page names is looked at besides
    os.environ["WEFT_PAGE_TEST_ALONE"] = "1"
    os.execvp(alone[0], [*alone, sys.executable, "-B", *sys.argv])


class Browser:

    def __init__(self):
        for program in ("chromium", "chromedriver"):
            if not shutil.which(program):
                sys.exit(f"{program} is not here (Debian: chromium, chromium-driver)")
        self.profile = tempfile.TemporaryDirectory(prefix="weft_page_", ignore_cleanup_errors=True)
        self.driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE,
                                       stderr=subprocess.DEVNULL, text=True)
        port = None
        for line in self.driver.stdout:
            found = re.search(r"successfully on port (\d+)", line)
            if found:
                port = int(found.group(1))
                break
        assert port, "chromedriver did not start"
        self.http = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        options = {"args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
                            "--disable-dev-shm-usage", "--force-device-scale-factor=1",
                            f"--user-data-dir={self.profile.name}"]}
        self.session = ""
        self.session = self.call("POST", "/session", {"capabilities": {"alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": options,
            "timeouts": {"script": 110000}, "goog:loggingPrefs": {"browser": "ALL"}}}})["sessionId"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.call("DELETE", "")
        finally:
            self.driver.terminate()
            self.driver.wait(10)
            self.profile.cleanup()

    def call(self, method, path, body=None):
        root = f"/session/{self.session}" if self.session else ""
        self.http.request(method, root + path, json.dumps(body) if body is not None else None,
                          {"Content-Type": "application/json"})
        answer = json.loads(self.http.getresponse().read())["value"]
        if isinstance(answer, dict) and "error" in answer:
            raise AssertionError(answer["message"].split("\n")[0])
        return answer

    def cdp(self, name, **params):
        return self.call("POST", "/goog/cdp/execute", {"cmd": name, "params": params})

    def open(self, page, state=""):
        """A page by its path, in a state of its hash; anew even where only the hash differs."""
        self.call("POST", "/url", {"url": "about:blank"})
        self.call("POST", "/url", {"url": page.resolve().as_uri() + (f"#{state}" if state else "")})

    def js(self, script, *args):
        return self.call("POST", "/execute/sync", {"script": script, "args": list(args)})

    def wait(self, script, what, seconds=10):
        end = time.monotonic() + seconds
        while not self.js(script):
            assert time.monotonic() < end, f"in vain for {seconds} s: {what}"
            time.sleep(0.03)

    def said(self):
        """What the page wrote to the console."""
        return [entry["message"] for entry in self.call("POST", "/se/log", {"type": "browser"})]

    def window(self, width, height):
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height,
                 deviceScaleFactor=1, mobile=False)

    def dark(self, on):
        self.cdp("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if on else "light"}])

    def picture(self, path):
        path.write_bytes(base64.b64decode(self.call("GET", "/screenshot")))

    def point(self, x, y, clicks=0, keys=()):
        """Moves the pointer there, perhaps clicks, perhaps with keys held."""
        moves = [{"type": "pointerMove", "duration": 0, "x": round(x), "y": round(y)}]
        moves += [{"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}] * clicks
        self.call("POST", "/actions", {"actions": [
            {"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"},
             "actions": moves}]})

    def key(self, *names):
        """Presses the last key, the others held."""
        codes = [KEYS.get(name, name) for name in names]
        self.call("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions":
            [{"type": "keyDown", "value": code} for code in codes] +
            [{"type": "keyUp", "value": code} for code in reversed(codes)]}]})
