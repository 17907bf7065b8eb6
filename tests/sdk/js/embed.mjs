// The chat of examples/embed.rs, as its page uses it: two people, their own names, remote calls of the program.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

const { load } = createRequire(import.meta.url)('./support.cjs');
const { Centrifuge } = load('centrifuge');
const WebSocket = load('ws');

const [address] = process.argv.slice(2);

async function person(name) {
  const client = new Centrifuge(`ws://${address}/connection/websocket?name=${name}`, { websocket: WebSocket });
  const room = client.newSubscription('chat:room');
  const seen = [];
  let wake = () => {};
  room.on('publication', ({ data }) => { seen.push(data); wake(); });
  const arrived = async (count) => {
    while (seen.length < count) await new Promise((resolve) => { wake = resolve; });
    return seen;
  };
  client.connect();
  room.subscribe();
  await room.ready(10_000);
  return { client, room, arrived };
}

const [ann, bob] = [await person('ann'), await person('bob')];
assert.equal((await ann.client.rpc('whoami', null)).data, 'ann');
assert.equal((await bob.client.rpc('shout', 'hello')).data, 'HELLO');
await assert.rejects(ann.client.rpc('nothing', null), { code: 108 });
await assert.rejects(ann.room.publish({ no: 'text' }), { code: 107 });
await ann.room.publish('hi');
await bob.room.publish('hello ann');
const spoken = [{ from: 'ann', text: 'hi' }, { from: 'bob', text: 'hello ann' }];
for (const { arrived } of [ann, bob]) assert.deepEqual(await arrived(2), spoken);
const present = Object.values((await ann.room.presence()).clients).map(({ user }) => user).sort();
assert.deepEqual(present, ['ann', 'bob']);

// Without a name nobody is let in, and the page is there for all.
const nobody = new Centrifuge(`ws://${address}/connection/websocket`, { websocket: WebSocket });
const refused = new Promise((resolve) => nobody.on('disconnected', resolve));
nobody.connect();
assert.equal((await refused).code, 3501);
assert.match(await (await fetch(`http://${address}/`)).text(), /<h1>Chat<\/h1>/);

for (const { client } of [ann, bob]) client.disconnect();
console.log('ok');
