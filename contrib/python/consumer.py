#!/usr/bin/env python3
"""Follows a relay, prints a line an event, and goes on where it ended.

    apt install python3-websockets python3-cbor2
    python3 contrib/python/consumer.py ws://localhost:2470 cursor.txt
"""
import asyncio
import io
import pathlib
import sys

import cbor2
import websockets


async def follow(url: str, file: pathlib.Path) -> None:
    cursor = file.read_text().strip() if file.exists() else "0"
    where = f"{url}/xrpc/com.atproto.sync.subscribeRepos?cursor={cursor}"
    async with websockets.connect(where, max_size=None) as stream:
        async for frame in stream:
            reader = io.BytesIO(frame)
            head, body = cbor2.load(reader), cbor2.load(reader)
            if head["op"] == -1:
                raise RuntimeError(f"{body['error']}: {body.get('message', '')}")
            if head["t"] == "#info":
                print(body, file=sys.stderr)
                continue
            print(body["seq"], head["t"], body.get("repo") or body.get("did"))
            file.write_text(str(body["seq"]))  # after what is done with the event


async def main() -> None:
    while True:
        try:
            await follow(sys.argv[1], pathlib.Path(sys.argv[2]))
        except (OSError, RuntimeError, websockets.WebSocketException) as err:
            print(err, file=sys.stderr)
        await asyncio.sleep(1)


asyncio.run(main())
