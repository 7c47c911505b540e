"""Starts a private cluster, runs every case against it, and counts."""

import sys
import tempfile
import unittest

import test_altered
import test_dialogs
import test_founding
import test_instance
import test_rotation
import test_sign_in
import test_words
from case import Case
from cluster import Cluster

#: What is tried once the instance is founded.
AFTER = (test_sign_in, test_instance, test_dialogs, test_rotation, test_altered)


def run(runner, *modules):
    loader = unittest.defaultTestLoader
    suite = unittest.TestSuite(loader.loadTestsFromModule(module) for module in modules)
    wanted = suite.countTestCases()
    result = runner.run(suite)
    failed = len({str(test) for test, _ in result.failures + result.errors})
    return result.testsRun == wanted, result.testsRun - failed, failed


def main(binary):
    runner = unittest.TextTestRunner(verbosity=2)
    with tempfile.TemporaryDirectory(prefix="keyhelm-console-") as folder:
        Case.cluster = cluster = Cluster(binary, folder)
        try:
            cluster.start()
            before = run(runner, test_words, test_founding)
            cluster.found()
            after = run(runner, *AFTER)
        finally:
            cluster.stop()
    passed, failed = before[1] + after[1], before[2] + after[2]
    print(f"{passed} passed, {failed} failed")
    is_good = failed == 0 and passed > 0 and before[0] and after[0]
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
