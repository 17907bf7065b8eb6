// `ws`, which compresses as a browser does: a server with compression gets and gives messages that decode to the same bytes.
'use strict';

const assert = require('node:assert/strict');
const { api, check, load, main, setting, token, unique } = require('./support.cjs');

const WebSocket = load('ws');

/** A connected and subscribed client; `next` waits for the next message. */
async function subscriber(channel, perMessageDeflate) {
  const socket = new WebSocket(setting('SDK_WS_URL'), { perMessageDeflate });
  const messages = [];
  const waiting = [];
  socket.on('message', (data) => {
    for (const line of data.toString().split('\n')) {
      const message = JSON.parse(line);
      if (waiting.length > 0) waiting.shift()(message);
      else messages.push(message);
    }
  });
  const next = () =>
    messages.length > 0 ? Promise.resolve(messages.shift()) : new Promise((done) => waiting.push(done));
  await new Promise((resolve, reject) => socket.on('open', resolve).on('error', reject));
  const ask = (command) => {
    socket.send(JSON.stringify(command));
    return next();
  };
  assert.ok((await ask({ id: 1, connect: { token: token({ sub: 'ws' }) } })).connect);
  assert.ok((await ask({ id: 2, subscribe: { channel } })).subscribe);
  return { socket, next, ask };
}

const texts = ['', 'short', 'äöü€😀'.repeat(300), 'x'.repeat(60_000), Math.random().toString(36)];

/** The next push of a publication; replies and joins are stepped over. */
async function publication(client) {
  for (;;) {
    const message = await client.next();
    if (message.push?.pub) return message.push.pub.data;
  }
}

main(async () => {
  const channel = unique('open');
  // With a threshold of 0 every message of the client is compressed.
  const packed = await subscriber(channel, { threshold: 0 });
  const plain = await subscriber(channel, false);

  await check('what was agreed upon', async () => {
    assert.match(packed.socket.extensions, /permessage-deflate/);
    assert.equal(plain.socket.extensions, '');
  });

  await check('publications of the server', async () => {
    for (const text of texts) {
      await api('publish', { channel, data: { text } });
      for (const client of [packed, plain]) assert.deepEqual(await publication(client), { text });
    }
  });

  await check('publications of the client', async () => {
    for (const [index, text] of texts.entries()) {
      packed.socket.send(JSON.stringify({ id: 10 + index, publish: { channel, data: { text } } }));
      for (const client of [packed, plain]) assert.deepEqual(await publication(client), { text });
    }
  });

  for (const { socket } of [packed, plain]) {
    socket.close();
    await new Promise((resolve) => socket.on('close', resolve));
  }
});
