"""Builds what the tests need, runs them by meson, and says what failed. See --help."""

import argparse
import collections
import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import judge
import peers
from verdict import Verdict

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# What tests/run runs. --all adds every other suite there is.
FIRST = ['conformance', 'unit', 'kqueue', 'programs', 'options']

NEEDED = ['cc', 'headers', 'pkg-config', 'meson', 'ninja', 'criterion']
WANTED = ['strace', 'valgrind', 'jansson']

HELP = """\
Builds the servers and runs their tests: the contract's clauses on every server, the parts of the
servers, kqueue, and the programs on the reactor. It first installs what is missing on this machine;
if it may not, it prints the exact line to run.
"""
EPILOG = """\
With --server, the conformance tests run against any one echo server that has the same command line,
in any language. Then it says which clauses of the contract the server keeps and which it breaks,
what usually causes that, and where to read about it. docs/contract.md has the contract, and servers
to begin with in four languages.

Traits say what is different about a server by design:
  busy             burns CPU while it waits
  fd-setsize       turns away clients above FD_SETSIZE
  threads          has a thread for each connection
  several-threads  has some threads, with many connections each
  edges            waits for changes only
  sanitized        is slow and needs much memory

The last line reads "N passed, N failed, N skipped" and counts single tests.
"""


def wrong(message):
    """Says what is wrong with the command line and where to look, and ends."""
    print(f"tests/run: {message}\nTry 'tests/run --help'.", file=sys.stderr)
    sys.exit(2)


def options():
    parser = argparse.ArgumentParser(
        prog='tests/run', description=HELP, epilog=EPILOG, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage='tests/run [OPTION]...\n       tests/run --peers [--only PATTERN]...\n'
              '       tests/run [OPTION]... --server PATH [ARGUMENT]...')
    parser.add_argument('--all', action='store_true', help='run every suite there is')
    parser.add_argument('--rest', action='store_true', help='run what --all adds, and only that')
    parser.add_argument('--suites', metavar='LIST',
                        help='run only these suites, separated by commas (--list shows them)')
    parser.add_argument('--only', metavar='PATTERN', action='append',
                        help="run only the lines of --list that match, as in '*05-epoll*'")
    parser.add_argument('--filter', metavar='PATTERN',
                        help="run only the single tests SUITE/TEST that match, as in 'clause7*/*'")
    parser.add_argument('--peers', action='store_true',
                        help='does each server of bench/peers that can be built fail what '
                             'bench/peers/README.md says? --only chooses by the names there')
    parser.add_argument('--list', action='store_true', help='show what would run')
    parser.add_argument('--build', metavar='DIR', default=os.path.join(ROOT, 'build'),
                        help='the build directory (build)')
    parser.add_argument('--traits', metavar='LIST', default='',
                        help="the server's traits, separated by commas")
    parser.add_argument('--first', action='store_true',
                        help='with --server: clause by clause, up to the first that is broken')
    parser.add_argument('--server', metavar='PATH', nargs=argparse.REMAINDER,
                        help='the server to test; what follows are its arguments')
    parser.error = wrong
    chosen = parser.parse_args()
    if chosen.server == []:
        wrong('--server needs a path')
    if chosen.first and (chosen.filter or not chosen.server):
        wrong('--first goes with --server, and without --filter')
    if chosen.peers and (chosen.all or chosen.rest or chosen.suites or chosen.filter or
                         chosen.list or chosen.server):
        wrong('--peers goes with --only and --build, and no other option')
    chosen.build = os.path.abspath(chosen.build)
    return chosen


# ---- the build ----

def quietly(command):
    """Runs a command. If it fails, shows what it printed, and ends."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=ROOT)
    if done.returncode != 0:
        sys.stderr.buffer.write(done.stdout)
        sys.exit(1)


def setup(function, *words):
    """The command that calls a function of common/setup.sh, which speaks to the user itself."""
    script = '. common/setup.sh; "$@"'
    return ['sh', '-c', script, 'sh', function, *words]


def configure(build, want):
    if subprocess.run(setup('setup_need', *NEEDED), cwd=ROOT).returncode != 0:
        sys.exit(1)
    if want:
        subprocess.run(setup('setup_want', *WANTED), cwd=ROOT)
    quietly(setup('setup_build', build, ROOT))
    quietly(['meson', 'compile', '-C', build, '--ninja-args=build.ninja']) # anew, if need be


def introspect(build, what):
    done = subprocess.run(['meson', 'introspect', what, build], stdout=subprocess.PIPE, cwd=ROOT)
    return json.loads(done.stdout) # meson's warnings are on stderr


def compile_for(tests, build):
    """Builds what these tests run and need. The book's tests may need any program."""
    if any('book' in suites_of(test) for test in tests):
        quietly(['meson', 'compile', '-C', build])
        return
    needed = {target for test in tests for target in test['depends']}
    files = [os.path.relpath(name, build) for target in introspect(build, '--targets')
             if target['id'] in needed for name in target['filename']]
    if files:
        quietly(['meson', 'compile', '-C', build, '--ninja-args=' + repr(files)])


# ---- which tests ----

def choose(tests, chosen):
    if chosen.suites:
        tests = [test for test in tests if set(chosen.suites.split(',')) & set(suites_of(test))]
    elif chosen.rest:
        tests = [test for test in tests if not set(FIRST) & set(suites_of(test))]
    elif chosen.filter and not chosen.only: # a filter alone is for the contract's tests
        tests = [test for test in tests if 'conformance' in suites_of(test)]
    elif not chosen.all and not chosen.only:
        tests = [test for test in tests if set(FIRST) & set(suites_of(test))]
    if chosen.only:
        tests = [test for test in tests
                 if any(fnmatch.fnmatch(test['name'], pattern) for pattern in chosen.only)]
    if not tests:
        wrong('nothing matches that; --list --all shows what there is')
    return tests


def suites_of(test): # "project:suite"
    return [suite.split(':')[-1] for suite in test['suite']]


# ---- the run ----

# A line of "meson test": number/all, suites, name, result, seconds.
LINE = re.compile(r'\s*(\d+)/(\d+) (?:[^/]*:)?([^/]*?) / (.*?)\s+'
                  r'(OK|FAIL|SKIP|TIMEOUT|ERROR|INTERRUPT|EXPECTEDFAIL|UNEXPECTEDPASS)\s+([\d.]+)s')


def run(tests, chosen):
    """Runs them, a line for each as it ends. Returns meson's records of them."""
    log = os.path.join(chosen.build, 'meson-logs', 'testlog.json')
    if os.path.exists(log):
        os.remove(log)
    environment = dict(os.environ, PYTHONUNBUFFERED='1')
    if chosen.filter:
        environment['CRITERION_TEST_PATTERN'] = environment['FAULTS_ONLY'] = chosen.filter
    at_a_time = 2 * (os.cpu_count() or 2) # most of them wait most of the time
    if len(tests) > 1:
        print(f'{len(tests)} suites, {at_a_time} at a time; those that measure run alone',
              flush=True)
    meson = subprocess.Popen(
        ['meson', 'test', '-C', chosen.build, '--no-rebuild', '--num-processes', str(at_a_time)] +
        [test['name'] for test in tests],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors='replace', cwd=ROOT,
        env=environment)
    try:
        for line in meson.stdout:
            show(line)
        meson.wait()
    except KeyboardInterrupt: # meson gets the signal, too
        meson.wait()
        raise
    if not os.path.exists(log):
        sys.exit('tests/run: meson ran nothing')
    with open(log, encoding='utf-8') as lines:
        records = [json.loads(line) for line in lines]
    missing = {test['name'] for test in tests} - {name_of(record) for record in records}
    if missing: # this is no success, whatever meson's exit status is
        sys.exit('tests/run: meson did not run ' + ', '.join(sorted(missing)))
    return records


def name_of(record): # of "project:suites / name"
    return record['name'].split(' / ', 1)[-1]


def show(line):
    found = LINE.match(line)
    if found:
        number, of, suite, name, result, seconds = found.groups()
        said = {'OK': 'ok', 'SKIP': 'skipped'}.get(result, result)
        width = len(of)
        print(f'{number:>{width}}/{of}  {said:8}{suite.split("+")[0]:13}{name:52}'
              f'{float(seconds):6.1f} s', flush=True)


# ---- the verdict ----

def again(record, single):
    """The command that runs this test alone."""
    command = ['tests/run', '--only', name_of(record)]
    if '::' in single: # Criterion's
        command += ['--filter', single.split()[0].rstrip(':').replace('::', '/')]
    elif single and 'faults in' in record['name']:
        command += ['--filter', single]
    return shlex.join(command)


def report(records, filtered):
    verdicts = [(record, Verdict(record, filtered)) for record in records]
    for record, verdict in verdicts:
        for single, reason, details in verdict.failures:
            print(f'\nFAILED {name_of(record)}: {single}{reason}')
            for line in details:
                print('  ' + line)
            print('  run it alone: ' + again(record, single))
    for reason, times in collections.Counter(
            reason for _, verdict in verdicts for reason in verdict.skips).items():
        print(f'skipped {times}: {reason}')
    return total([verdict for _, verdict in verdicts])


def total(verdicts):
    passed = sum(verdict.passed for verdict in verdicts)
    failed = sum(len(verdict.failures) for verdict in verdicts)
    skipped = sum(len(verdict.skips) for verdict in verdicts)
    print(f'{passed} passed, {failed} failed, {skipped} skipped')
    return 1 if failed or passed == 0 else 0


# ---- a server of the reader's own ----

def absolute(server):
    if '/' in server:
        path = os.path.abspath(server)
    else:
        path = shutil.which(server) or wrong(f"there is no command '{server}'")
    if not os.path.isfile(path) or not os.access(path, os.X_OK):
        wrong(f"'{path}' is not a program")
    if ' ' in path:
        wrong("the server's path must not have blanks in it")
    return path


def judge_server(chosen):
    """Holds the reader's server to the contract, and says what to mend."""
    server = ' '.join([absolute(chosen.server[0]), *chosen.server[1:]])
    configure(chosen.build, want=False)
    quietly(['meson', 'compile', '-C', chosen.build, 'conformance'])
    print('testing ' + server, flush=True)
    words = (['--traits', chosen.traits] if chosen.traits else []) + ['--server', *chosen.server]
    the_judge = judge.Judge(os.path.join(chosen.build, 'tests', 'conformance'), server,
                            chosen.traits, shlex.join(words))
    clauses = the_judge.judge(chosen.filter or '*', chosen.first)
    judge.table(clauses)
    judge.advise(clauses, the_judge.book, the_judge.command)
    print()
    return total(the_judge.verdicts)


# ---- the servers on other loops and in other languages ----

def compare_peers(chosen):
    configure(chosen.build, want=False)
    everyone = peers.read_peers(chosen.build)
    names = [peer.name for peer in everyone]
    wanted = [peer for peer in everyone if not chosen.only or any(
        fnmatch.fnmatchcase(peer.name, pattern) for pattern in chosen.only)]
    if not wanted:
        wrong('--peers: nothing matches that; there are ' + ', '.join(names))
    files = ['tests/conformance'] + [peer.program for peer in wanted if peer.program]
    quietly(['meson', 'compile', '-C', chosen.build, '--ninja-args=' + repr(files)])
    with open(os.path.join(ROOT, 'bench', 'peers', 'README.md'), encoding='utf-8') as page:
        table = peers.read_table(page.read())
    os.chdir(chosen.build)
    comparison = peers.Comparison(os.path.join(chosen.build, 'tests', 'conformance'), table)
    for peer in wanted:
        comparison.run(peer)
    return comparison.verdict(names)


def main():
    chosen = options()
    if chosen.peers:
        return compare_peers(chosen)
    if chosen.server:
        return judge_server(chosen)
    narrow = chosen.suites or chosen.filter or chosen.only
    configure(chosen.build, want=not narrow)
    tests = choose(introspect(chosen.build, '--tests'), chosen)
    if chosen.list:
        for test in tests:
            print(f'{suites_of(test)[0]:13}{test["name"]}')
        return 0
    if sys.stdout.isatty() or not narrow:
        print(f'building into {os.path.relpath(chosen.build)} ...', flush=True)
    compile_for(tests, chosen.build)
    return report(run(tests, chosen), bool(chosen.filter))


if __name__ == '__main__':
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit('\ninterrupted')
