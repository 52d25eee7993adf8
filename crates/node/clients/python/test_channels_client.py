"""phoenix-channels-python-client, unmodified, against a node, in both versions of the wire.

It listens and does not push. In version 2.0.0 this release of it drops every frame that has not its own join's reference, so all
broadcasts, whichever server sends them; what a channel pushes to it does arrive.
"""

import asyncio
import logging
import unittest

from phoenix_channels_python_client import PhoenixChannelsProtocolVersion as Version
from phoenix_channels_python_client import PHXChannelsClient, ReconnectPolicy
from phoenix_channels_python_client.exceptions import PHXTopicError

from node import DEADLINE_S, Node

# It tells of every refusal that these tests ask for.
logging.getLogger("phoenix_channels_python_client").setLevel(logging.CRITICAL)

AT_ONCE = ReconnectPolicy(base_delay_s=0.01, rapid_first_min_delay_s=0.01, rapid_second_min_delay_s=0.01)


class ChannelsClient(unittest.IsolatedAsyncioTestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = cls.enterClassContext(Node())

    def client(self, version, user="anna", **options):
        url = f"{self.node.socket}?user={user}"
        return PHXChannelsClient(url, "key", protocol_version=version, reconnect_policy=AT_ONCE, **options)

    async def post(self, path, payload=None):
        status = await asyncio.to_thread(self.node.post, path, payload)
        self.assertEqual(status, 204)

    async def subscribe(self, client, topic):
        """Joins, and gives a queue of what arrives."""
        came = asyncio.Queue()

        async def take(message):
            await came.put((str(message.event), message.payload))

        await client.subscribe_to_topic(topic, take)
        return came

    async def next(self, came):
        return await asyncio.wait_for(came.get(), DEADLINE_S)

    async def test_it_joins_leaves_and_joins_again(self):
        for version in Version:
            with self.subTest(version):
                async with self.client(version) as client:
                    for _ in range(2):
                        await client.subscribe_to_topic("lab:py")
                        self.assertTrue(client.is_topic_joined("lab:py"))
                        await client.unsubscribe_from_topic("lab:py")

    async def test_a_refusal_has_its_reason(self):
        # Of version 2.0.0 it reads a refusal only where that has the join's reference, which "unmatched topic" has not.
        for version, topic, reason in (
            (Version.V1, "nowhere", "unmatched topic"),
            (Version.V1, "lab:" + "x" * 300, "topic too long"),
            (Version.V2, "lab:" + "x" * 300, "topic too long"),
        ):
            with self.subTest(version, topic=topic):
                async with self.client(version) as client:
                    with self.assertRaisesRegex(PHXTopicError, reason):
                        await client.subscribe_to_topic(topic)

    async def test_a_client_without_a_user_is_refused(self):
        for version in Version:
            with self.subTest(version), self.assertRaisesRegex(Exception, "403"):
                async with PHXChannelsClient(self.node.socket, "key", protocol_version=version):
                    self.fail("it was let in")

    async def test_broadcasts_arrive_in_version_1(self):
        async with self.client(Version.V1) as client:
            came = await self.subscribe(client, "lab:news")
            for n in range(5):
                await self.post("/api/broadcast/lab:news/news", {"n": n})
            for n in range(5):
                self.assertEqual(await self.next(came), ("news", {"n": n}))

    async def test_what_its_channel_pushes_arrives(self):
        for version in Version:
            with self.subTest(version):
                async with self.client(version) as client:
                    came = await self.subscribe(client, f"room:{version}")
                    event, state = await self.next(came)
                    while event != "presence_state":
                        event, state = await self.next(came)
                    self.assertEqual(list(state), ["anna"])

    async def test_heartbeats_are_answered(self):
        for version in Version:
            with self.subTest(version):
                answers = asyncio.Queue()
                told = {"on_heartbeat_ack": lambda: answers.put_nowait(True)}
                async with self.client(version, heartbeat_interval_s=0.02, **told):
                    for _ in range(3):
                        await self.next(answers)

    async def test_it_comes_back_and_joins_again_after_a_disconnect(self):
        for version in Version:
            with self.subTest(version):
                back = asyncio.Queue()

                async def on_reconnect():
                    await back.put(True)

                async with self.client(version, user="dora", on_reconnect=on_reconnect) as client:
                    await client.subscribe_to_topic("lab:back")
                    await self.post("/api/disconnect/dora")
                    await self.next(back)
                    self.assertTrue(client.is_topic_joined("lab:back"))


if __name__ == "__main__":
    unittest.main()
