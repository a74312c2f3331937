"""Holds the servers of bench/peers to the contract, and compares what each fails with the table in
bench/peers/README.md, which has the reason of each failure."""

import os
import re
import subprocess

import judge

# A row of the table: servers, "sometimes" if the tests pass in some runs, the tests, the reason.
ROW = re.compile(r'^\| ((?:`[^`|]+`(?:, )?)+) \| (sometimes )?((?:`\w+/\w+`(?:, )?)+) \| .+ \|$',
                 re.M)


def read_table(text):
    """For each server of the table: the tests that it always fails, those that it fails in some
    runs."""
    table = {}
    for servers, sometimes, tests in ROW.findall(text):
        for server in re.findall('`(.+?)`', servers):
            always, in_some_runs = table.setdefault(server, (set(), set()))
            (in_some_runs if sometimes else always).update(re.findall('`(.+?)`', tests))
    return table


class Peer:
    """A server of bench/peers. left_out: why it cannot be built here."""

    def __init__(self, name, program='', arguments='', traits='', roles='', left_out=''):
        self.name, self.program, self.traits, self.left_out = name, program, traits, left_out
        self.command = ' '.join([program, arguments]).strip()
        self.roles = roles.split(',')

    def pattern(self):
        """The servers in other languages take only a part of the command line."""
        return 'clause*/*' if 'language' in self.roles else '*'

    def refusal(self):
        """A server that the system does not allow to run says so in one line: status 1."""
        try:
            ended = subprocess.run([*self.command.split(), '--port', '0'], timeout=3,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        except subprocess.TimeoutExpired:
            return '' # it runs
        said = ended.stderr.decode(errors='replace').strip()
        return said if ended.returncode == 1 and '\n' not in said else ''


def read_peers(build):
    """In the order of servers.list; then those that are left out."""
    peers = []
    with open(os.path.join(build, 'servers.list'), encoding='utf-8') as rows:
        for row in rows.read().splitlines():
            name, _, _, _, program, arguments, traits, _, roles = row.split('|')
            if {'peer', 'language'} & set(roles.split(',')):
                peers.append(Peer(name, program, arguments, traits, roles))
    with open(os.path.join(build, 'left-out.list'), encoding='utf-8') as rows:
        for row in rows.read().splitlines():
            name, _, why = row.partition('|')
            peers.append(Peer(name, left_out=why))
    return peers


def compare(clauses, always, in_some_runs):
    """Returns what the table says otherwise, and the test that shows it."""
    passed = {name.replace('::', '/').split()[0] for clause in clauses for name in clause.passed}
    failed = {name: said for clause in clauses for name, said in clause.failed.items()}
    for test, said in failed.items():
        if test not in always | in_some_runs:
            yield test, 'fails, and the table does not say so: ' + (said.splitlines() or [''])[0]
    for test in sorted(always & passed):
        yield test, 'passes, and the table says that it fails'


class Comparison:
    """Of all peers with the table. The working directory is the build's."""

    def __init__(self, conformance, table):
        self.conformance, self.table = conformance, table
        self.agree = self.differ = self.left_out = 0

    def leave_out(self, peer, why):
        self.left_out += 1
        print(f'{peer.name:24}left out: {why}', flush=True)

    def run(self, peer):
        if peer.left_out:
            self.leave_out(peer, peer.left_out)
            return
        the_judge = judge.Judge(self.conformance, peer.command, peer.traits, '')
        clauses = the_judge.judge(peer.pattern(), show=False)
        refusal = peer.refusal() if clauses[0].failed else ''
        if refusal:
            self.leave_out(peer, refusal)
            return
        count = sum(len(clause.failed) for clause in clauses)
        passed = sum(len(clause.passed) for clause in clauses[1:])
        different = list(compare(clauses, *self.table.get(peer.name, (set(), set()))))
        if not count + passed:
            different = [('', 'the tests did not run')]
        self.differ += bool(different)
        self.agree += not different
        print(f'{peer.name:24}{passed} pass, {count} fail: ' +
              ('not as the table says' if different else 'as the table says'), flush=True)
        for test, what in different:
            print(f'  {test} {what}')
            print('  run it alone: tests/run ' +
                  (f'--traits {peer.traits} ' if peer.traits else '') +
                  f'--filter {test} --server ' +
                  os.path.relpath(peer.command, os.path.dirname(judge.HERE)))

    def verdict(self, names):
        """Prints the last line, and returns the exit status. names: of all peers."""
        unknown = sorted(set(self.table) - set(names))
        for name in unknown:
            print(f"the table names '{name}', and there is no such server")
        print(f'{self.agree} passed, {self.differ + len(unknown)} failed, {self.left_out} skipped')
        return 1 if self.differ or unknown or not self.agree else 0
