"""The console's words for phases are those of the coordinator, one for one."""

import re
import unittest
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONSOLE = ROOT / "services" / "coordinator" / "console" / "phases.js"
PHASES = ROOT / "shared" / "protocol" / "src" / "audit.rs"
TEXTS = ROOT / "shared" / "machines" / "src" / "rotation" / "view.rs"


def entries(name):
    """A map of the console, as it stands in the source."""
    (body,) = re.findall(rf"const {name} = new Map\(\[(.*?)\]\);", CONSOLE.read_text(), re.DOTALL)
    return dict(re.findall(r'\["([a-z-]+)", "([^"]+)"\]', body))


class Words(unittest.TestCase):
    def setUp(self):
        source = PHASES.read_text()
        self.names = dict(re.findall(r'Self::(\w+) => "([a-z-]+)"', source))
        (count,) = re.findall(r"const ALL: \[Self; (\d+)\]", source)
        self.assertEqual(len(self.names), int(count))

    def texts(self, arm):
        """By the phase's name: what `phase_text` has after this."""
        found = re.findall(rf'Phase::(\w+) => {arm}"([^"]+)"', TEXTS.read_text())
        return {self.names[phase]: text for phase, text in found}

    def test_every_phase_has_an_entry_in_order(self):
        self.assertEqual(list(entries("PHASES")), list(self.names.values()))

    def test_every_text_is_that_of_the_coordinator(self):
        # That nothing has changed is not said before the event of an end has said it.
        wanted = {**self.texts(""), "aborted": "aborted"}
        self.assertEqual(entries("PHASES"), wanted)
        self.assertEqual(entries("OF_RECOVERY"), self.texts("return "))


if __name__ == "__main__":
    unittest.main()
