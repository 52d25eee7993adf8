"""phxsocket, unmodified, against a node: everything that it can do, in version 1.0.0 of the wire and with numbers as references."""

import unittest
from queue import Empty, Queue
from threading import Thread

import phxsocket
from phxsocket.channel import ChannelConnectError

from node import DEADLINE_S, Node


def within(call, what):
    """Gives what `call` returns, or fails when it has not returned in time: the client itself waits for ever."""
    done = Queue()

    def run():
        try:
            done.put((call(), None))
        except Exception as error:  # noqa: BLE001  # whatever it is belongs to the test's own thread
            done.put((None, error))

    Thread(target=run, daemon=True).start()
    try:
        result, error = done.get(timeout=DEADLINE_S)
    except Empty:
        raise AssertionError(f"no {what} within {DEADLINE_S} s") from None
    if error is not None:
        raise error
    return result


class Talk:
    """One channel, and what arrives on it."""

    def __init__(self, client, topic, params=None):
        self.channel = client.channel(topic, params or {})
        self.events = Queue()
        self.channel.on_message = lambda _, event, payload: self.events.put((event, payload))
        self.channel.on_close = lambda: self.events.put(("phx_close", {}))

    def join(self):
        return within(self.channel.join, "join reply")

    def ask(self, event, payload):
        message = self.channel.push(event, payload, reply=True)
        return within(message.wait_for_response, f"reply to {event}")

    def send(self, event, payload):
        self.channel.push(event, payload)

    def next(self):
        try:
            return self.events.get(timeout=DEADLINE_S)
        except Empty:
            raise AssertionError(f"nothing came within {DEADLINE_S} s") from None


class PhxSocket(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = cls.enterClassContext(Node())

    def connect(self, user, heartbeat_s=5):
        client = phxsocket.Client(self.node.socket, {"user": user})
        client.heartbeat_interval = heartbeat_s
        self.assertTrue(within(client.connect, "connection"))
        self.addCleanup(lambda: client._loop and client.close())
        return client

    def talk(self, user, topic):
        talk = Talk(self.connect(user), topic)
        talk.join()
        return talk

    def test_a_join_is_answered_or_refused(self):
        client = self.connect("anna")
        joined = Talk(client, "lab:join", {"a": 1}).join()
        self.assertEqual(joined, {"topic": "lab:join", "params": {"a": 1}})
        with self.assertRaises(ChannelConnectError) as refused:
            Talk(client, "lab:denied", {"deny": "full"}).join()
        self.assertEqual(refused.exception.args, ({"reason": "full"},))
        with self.assertRaises(ChannelConnectError) as refused:
            Talk(client, "nowhere").join()
        self.assertEqual(refused.exception.args, ({"reason": "unmatched topic"},))

    def test_a_client_without_a_user_is_refused(self):
        client = phxsocket.Client(self.node.socket, {})
        with self.assertRaisesRegex(Exception, "403"):
            within(client.connect, "refusal")

    def test_messages_are_answered(self):
        anna = self.talk("anna", "lab:ask")
        self.assertEqual(anna.ask("echo", {"text": "é"}), {"status": "ok", "response": {"text": "é"}})
        self.assertEqual(anna.ask("fail", {"n": 1}), {"status": "error", "response": {"n": 1}})
        self.assertEqual(anna.ask("later", {"ms": 20})["response"], {"ms": 20})
        for n in (1, 2, 3):
            self.assertEqual(anna.ask("count", {})["response"], {"count": n})

    def test_broadcasts_reach_all_and_pushes_one(self):
        anna, ben = self.talk("anna", "lab:all"), self.talk("ben", "lab:all")
        anna.send("shout", {"n": 1})
        for talk in (anna, ben):
            self.assertEqual(talk.next(), ("shout", {"n": 1}))
        anna.send("whisper", {"n": 2})
        self.assertEqual(ben.next(), ("shout", {"n": 2}))
        anna.send("push_me", {"n": 3})
        self.assertEqual(anna.next(), ("pushed", {"n": 3}))
        anna.send("tell_secret", {"n": 4})
        self.assertEqual(ben.next(), ("secret", {"n": 4, "seen_by": "ben"}))
        self.assertEqual(self.node.post("/api/broadcast/lab:all/news", {"n": 5}), 204)
        self.assertEqual(ben.next(), ("news", {"n": 5}))

    def test_a_crash_ends_one_channel_and_it_can_be_joined_again(self):
        anna = self.talk("anna", "lab:crash")
        anna.ask("count", {})
        anna.send("crash", {})
        self.assertEqual(anna.next(), ("phx_error", {"reason": "channel_crash"}))
        anna.join()
        self.assertEqual(anna.ask("count", {})["response"], {"count": 1})

    def test_a_stop_closes_the_channel(self):
        anna = self.talk("anna", "lab:stop")
        self.assertEqual(anna.ask("stop", {}), {"status": "ok", "response": {}})
        self.assertEqual(anna.next(), ("phx_close", {}))

    def test_a_room_tells_who_is_there_and_what_they_say(self):
        anna = self.talk("anna", "room:py")
        arrived = dict([anna.next(), anna.next()])
        self.assertEqual(list(arrived["presence_state"]), ["anna"])
        self.assertEqual(list(arrived["presence_diff"]["joins"]), ["anna"])
        ben = self.talk("ben", "room:py")
        event, diff = anna.next()
        self.assertEqual((event, list(diff["joins"]), diff["leaves"]), ("presence_diff", ["ben"], {}))
        self.assertEqual(ben.ask("new_msg", {"body": "hi"})["status"], "ok")
        self.assertEqual(anna.next(), ("new_msg", {"user": "ben", "body": "hi"}))
        ben.channel.leave()
        event, diff = anna.next()
        self.assertEqual((event, list(diff["leaves"]), diff["joins"]), ("presence_diff", ["ben"], {}))

    def test_heartbeats_are_answered(self):
        client = phxsocket.Client(self.node.socket, {"user": "anna"})
        client.heartbeat_interval = 0.02
        answers = Queue()
        client.on_message = answers.put
        within(client.connect, "connection")
        self.addCleanup(client.close)
        for _ in range(3):
            answer = answers.get(timeout=DEADLINE_S)
            self.assertEqual((answer.topic, answer.payload["status"]), ("phoenix", "ok"))
            self.assertIsInstance(answer.ref, int)

    def test_it_is_told_when_the_server_closes(self):
        client = self.connect("carla")
        Talk(client, "lab:closed").join()
        closed = Queue()
        client.on_close = closed.put
        self.assertEqual(self.node.post("/api/disconnect/carla"), 204)
        self.assertIs(closed.get(timeout=DEADLINE_S), client)
        within(client.connect, "connection")
        self.assertEqual(Talk(client, "lab:closed").join()["topic"], "lab:closed")


if __name__ == "__main__":
    unittest.main()
