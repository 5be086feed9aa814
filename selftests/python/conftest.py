# SPDX-License-Identifier: MIT
"""pytest prints TAP here: a test is a point. Called by selftests/run."""


class Tap:
    """Prints a line per test, past pytest's capturing."""

    def __init__(self, config):
        self.capture = config.pluginmanager.getplugin("capturemanager")
        self.count = 0

    def say(self, text):
        with self.capture.global_and_fixture_disabled():
            print(text, flush=True)

    def pytest_collection_finish(self, session):
        self.say(f"TAP version 13\n1..{len(session.items)}")

    def pytest_collectreport(self, report):
        if report.failed:
            self.say("# " + str(report.longrepr).replace("\n", "\n# "))

    def pytest_runtest_logreport(self, report):
        # One point: the test itself, or the fixture that kept it from running.
        if report.when == "teardown" and report.passed or \
                report.when == "setup" and report.passed:
            return
        self.count += 1
        skip = " # SKIP" if report.skipped else ""
        good = "not ok" if report.failed else "ok"
        self.say(f"{good} {self.count} - {report.nodeid.split('::', 1)[1]}{skip}")
        if not report.passed:
            self.say("# " + str(report.longrepr).replace("\n", "\n# "))


def pytest_configure(config):
    # The terminal's option, which explaining a failed assertion asks for.
    config.option.verbose = 0
    config.pluginmanager.register(Tap(config))
