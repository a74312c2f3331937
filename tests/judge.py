"""Judges the reader's own server: which clauses of the contract it keeps, what causes each broken
one, and where to read about it. The words are in judge.ini."""

import configparser
import fnmatch
import os
import re
import shlex
import subprocess
import tempfile

from verdict import Verdict

HERE = os.path.dirname(os.path.abspath(__file__))
START = 'start/ready' # as the hints call it
FIRST_TEST = 'clause1_echo/small_messages' # a server that does not start fails here


class Hint:
    """A cause, and its signs."""

    def __init__(self, name, section, sections):
        self.name = section.get('as', name) # the cause may have a section of its own
        text = sections[self.name]
        self.cause, self.usually, self.read = text['cause'], text['usually'], text['read']
        self.signs = [[part.strip() for part in line.partition(':')[::2]]
                      for line in section['when'].strip().splitlines()]
        self.unless = section.get('unless', '').split()
        self.plain = 'plain' in section # told before the causes of earlier clauses

    def suite(self):
        return self.signs[0][0].split('/')[0]

    def fits(self, failed):
        """failed: the message of each failed test. Each sign must be there."""
        return all(any(fnmatch.fnmatchcase(test, pattern) and re.search(said, message)
                       for test, message in failed.items()) for pattern, said in self.signs) and \
            not any(test in failed for test in self.unless)


class Book:
    """What judge.ini says: the clauses and the hints, each in their order."""

    def __init__(self, path=os.path.join(HERE, 'judge.ini')):
        sections = configparser.ConfigParser(interpolation=None, delimiters=('=',),
                                             comment_prefixes=('#',))
        with open(path, encoding='utf-8') as file:
            sections.read_file(file)
        self.clauses = {name: sections[name] for name in sections if 'title' in sections[name]}
        self.hints = [Hint(name, sections[name], sections) for name in sections
                      if 'when' in sections[name]]

    def hint(self, suite, failed, named=(), broken=''):
        """The hint for this clause, or None. One that was named for another clause comes first, as
        one cause is likelier than two. Otherwise a message about an earlier broken clause (broken
        has their numbers) is no sign: that test ended before its own question."""
        mine = [hint for hint in self.hints if hint.suite() == suite]
        own = {test: message for test, message in failed.items()
               if suite[6:7] == about(message) or about(message) not in broken}
        again = (hint for hint in mine if (hint.name in named or hint.plain) and hint.fits(failed))
        return next(again, None) or next((hint for hint in mine if hint.fits(own)), None)


def about(message):
    """The number of the clause that a message names; "?" if it names none."""
    return (re.match(r'clause (\d)', message) or '?')[0][-1]


class Clause:
    """How the tests of a clause came out."""

    def __init__(self, suite, title):
        self.suite, self.title = suite, title
        self.passed, self.skipped, self.failed = [], [], {}

    def count(self, verdict):
        def mine(name):
            return name.replace('::', '/').split()[0].split('/')[0] == self.suite
        self.passed += filter(mine, verdict.names['passed'])
        self.skipped += filter(mine, verdict.names['skipped'])
        self.failed.update((name.replace('::', '/').split()[0], '\n'.join(details))
                           for name, _, details in verdict.failures if name and mine(name))

    def result(self):
        return 'broken' if self.failed else 'kept' if self.passed else 'not judged'

    def counts(self):
        parts = [f'{len(self.passed)} passed', f'{len(self.failed)} failed',
                 f'{len(self.skipped)} skipped']
        return ', '.join(part for part in parts if not part.startswith('0')) or 'no test was run'


def causes(clauses, book):
    """For each broken clause: the hint or None, and the earlier broken clauses that all of its
    messages are about."""
    found, broken = [], ''
    for clause in clauses:
        if clause.failed:
            named = [hint.name for _, hint, _ in found if hint]
            hint = book.hint(clause.suite, clause.failed, named, broken)
            numbers = {about(message) for message in clause.failed.values()}
            found.append((clause, hint, sorted(numbers) if numbers <= set(broken) else []))
            broken += clause.suite[6:7]
    return found


def table(clauses):
    print()
    for clause in clauses:
        print(f'  {clause.title:24} {clause.result():11} {clause.counts()}')


def say(label, text):
    print(f'  {label:8} {text}')


def explain(clause, hint, follows, named, book, command):
    """Explains one broken clause. named: the causes that have been explained."""
    pattern, said = hint.signs[0] if hint else ('*', '') # show the sign of the cause
    test = next(test for test, message in clause.failed.items()
                if fnmatch.fnmatchcase(test, pattern) and re.search(said, message))
    print(f'\n{clause.title}: broken')
    # The message may name another clause, the one whose promise was broken: here that confuses.
    seen = (clause.failed[test].splitlines() or ['it failed'])[0]
    say('seen', re.sub(r'^clause \d: ', '', seen))
    count = len(clause.failed)
    say('test', test + (f', one of {count} that fail' if count > 1 else ''))
    if hint and hint.name in named:
        say('cause', f'{hint.cause}: the same as above')
        return
    if hint:
        say('cause', hint.cause)
        say('usually', hint.usually)
        say('read', hint.read)
    elif follows:
        say('cause', 'these tests need clause ' + ' and '.join(follows) +
            ', which is broken: mend that, and run them again')
    else:
        say('cause', 'not known')
        say('read', book.clauses[clause.suite]['read'])
    if test != START:
        say('again', shlex.join(['tests/run', '--filter', test]) + ' ' + command)


def advise(clauses, book, command):
    """Explains the broken clauses, in the contract's order. Returns the names of the causes."""
    named = []
    for clause, hint, follows in causes(clauses, book):
        explain(clause, hint, follows, named, book, command)
        named.append(hint.name if hint else None)
    if named:
        first = next(clause.title for clause in clauses if clause.failed)
        print(f'\nMend this first: {first}. Then run all tests again: they may name another cause.')
    return named


class Judge:
    """conformance: the program with the tests. server: the command that starts the server."""

    def __init__(self, conformance, server, traits, command, jobs=4):
        self.conformance, self.server, self.traits = conformance, server, traits
        self.command = command # how the reader calls this server, for the commands to type
        self.jobs = jobs
        self.book = Book()
        self.verdicts = []

    def ask(self, pattern, show=True):
        """Runs the tests that match, and shows them as they end."""
        only_suite = next((name for name in self.book.clauses if pattern == name + '/*'), None)
        with tempfile.NamedTemporaryFile() as tap:
            criterion = subprocess.Popen(
                [self.conformance, '--jobs', str(self.jobs), '--verbose', '--tap=' + tap.name,
                 '--filter', pattern],
                env=dict(os.environ, ECHO_SERVER=self.server, ECHO_TRAITS=self.traits),
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors='replace')
            for line in criterion.stdout:
                suite = re.search(r'Running \d+ tests? from (\w+)', line)
                if show and not re.search(r'\[RUN \]|Test is disabled|Writing tap', line) and \
                        not (suite and only_suite and suite[1] != only_suite):
                    print(line, end='', flush=True)
            status = criterion.wait()
            return Verdict({'stdout': tap.read().decode(errors='replace'), 'returncode': status,
                            'result': 'OK' if status == 0 else 'FAIL'}, filtered=True)

    def start(self, clause):
        """Does the server get ready, and accept a client? If not, each test would wait for that."""
        verdict = self.ask(FIRST_TEST, show=False)
        for _, _, details in verdict.failures:
            message = '\n'.join(details)
            if re.match('command line:|cannot connect', message):
                clause.failed[START] = message
                self.verdicts.append(verdict)
        if not clause.failed:
            clause.passed = [START]

    def judge(self, pattern='*', first=False, show=True):
        """Returns the clauses, tested all at once, or one by one up to the first broken one."""
        clauses = [Clause(name, section['title']) for name, section in self.book.clauses.items()]
        parts = [clause.suite + '/*' for clause in clauses[1:]] if first else [pattern]
        self.start(clauses[0])
        for part in [] if clauses[0].failed else parts:
            verdict = self.ask(part, show)
            self.verdicts.append(verdict)
            for clause in clauses[1:]:
                clause.count(verdict)
            if first and verdict.failures:
                break
        return clauses
