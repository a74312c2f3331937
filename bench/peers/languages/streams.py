#!/usr/bin/env python3
import argparse
import asyncio
import signal


async def echo(reader, writer):
    while data := await reader.read(16384):
        writer.write(data)
        await writer.drain() # waits while the client does not read
    writer.close()


async def serve(options):
    stop = asyncio.Event()
    for number in signal.SIGINT, signal.SIGTERM:
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = await asyncio.start_server(echo, options.host, options.port, backlog=options.backlog)
    host, port = server.sockets[0].getsockname()[:2]
    print(f'listening on [{host}]:{port}' if ':' in host else f'listening on {host}:{port}',
          flush=True)
    await stop.wait()


parser = argparse.ArgumentParser()
parser.add_argument('--host', default='127.0.0.1')
parser.add_argument('--port', type=int, default=7000)
parser.add_argument('--backlog', type=int, default=4096)
parser.add_argument('--verbose', action='store_true')
asyncio.run(serve(parser.parse_args()))
