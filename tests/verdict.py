"""What a test's output says of the single tests in it."""

import re

SYNTHESIS = re.compile(r'\[====\].*Passing: *\D*(\d+).*Failing: *\D*(\d+).*Crashing: *\D*(\d+)')


class Verdict:
    """What one of meson's tests says of the single tests in it: in TAP (testanything.org), in
    Criterion's last line, or, if it speaks neither, by its exit status alone."""

    def __init__(self, record, filtered=False):
        self.passed = 0
        self.names = {'passed': [], 'skipped': []} # only TAP tells them
        self.skips = [] # why
        self.failures = [] # name, reason, details
        text = re.sub(r'\x1b\[[0-9;]*m', '', record.get('stdout', '') + record.get('stderr', ''))
        good = record['result'] in ('OK', 'SKIP')
        lines = text.splitlines()
        spoken = self.read_tap(lines) or self.read_criterion(lines)
        if not spoken and record['result'] == 'OK':
            self.passed = 1
        elif not spoken and record['result'] == 'SKIP':
            self.skips = lines[-1:] or ['']
        if good and not self.passed + len(self.skips) + len(self.failures) and not filtered:
            self.failures = [('', 'ran no test', lines[-20:])]
        if not good and not self.failures: # it crashed, or did not end in time
            reason = 'took too long' if record['result'] == 'TIMEOUT' else \
                f'exit status {record["returncode"]}'
            self.failures = [('', reason, lines[-20:])]

    def read_tap(self, lines):
        spoken = False
        for number, line in enumerate(lines):
            found = re.match(r'(ok|not ok)\b *\d* *(?:- )?(.*)', line)
            if not found:
                continue
            result, name = found.groups()
            # Criterion also calls the tests "skipped" that a filter leaves out: they do not count.
            if '# SKIP test was skipped' in name:
                pass
            elif '# SKIP' in name:
                self.skips.append(name.split('# SKIP')[1].strip())
                self.names['skipped'].append(name)
            elif result == 'ok':
                self.passed += 1
                self.names['passed'].append(name)
            else:
                self.failures.append((name, '', self.details(lines[number + 1:])))
            spoken = True
        return spoken

    @staticmethod
    def details(lines):
        """The reasons below a failed test: comments, or Criterion's block of YAML."""
        said, place = [], ''
        for line in lines:
            if not line.startswith(('#', ' ')) or line == '  ...' or len(said) == 20:
                break
            found = re.match(r' *- (?:\.\./)*(\S+:\d+): ', line)
            if found:
                place = found.group(1)
            elif 'Assertion failed: ' in line and place:
                said.append(line.split('Assertion failed: ')[1] + f' ({place})')
            elif line.startswith('#'):
                said.append(line[1:].lstrip())
        return said

    def read_criterion(self, lines):
        for line in lines:
            found = SYNTHESIS.match(line)
            if found:
                passed, failed, crashed = map(int, found.groups())
                self.passed += passed
                self.failures = self.criterion_failures(lines) or \
                    [('', 'failed', [])] * (failed + crashed)
                return True
        return False

    @staticmethod
    def criterion_failures(lines):
        """Criterion says where a check did not hold, then why, and then "[FAIL] suite::test"."""
        failures, said, place = [], [], ''
        for line in lines:
            failed = re.match(r'\[(?:FAIL|CRASH)\] (.*)', line)
            found = re.match(r'\[----\] *(?:(?:\.\./)*(\S+:\d+): )?(.*)', line)
            if failed:
                failures.append((failed.group(1), '', said))
                said = []
            elif found:
                place = found.group(1) or place
                if place and found.group(2) not in ('', 'Assertion Failed'):
                    said.append(f'{found.group(2)} ({place})')
        return failures
