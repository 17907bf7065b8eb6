// The last JavaScript SDK of the generation before (`centrifuge` 2.8.5, V1) against a running server.
//
//   node v1.cjs <json|protobuf>                                 all checks
//   node v1.cjs sockjs-<transport>                              the same over one transport of SockJS
//   node v1.cjs <json|protobuf> mixed <name> <channel> <total>  one of many clients in a channel
'use strict';

const assert = require('node:assert/strict');
const {
  Events, Gate, api, check, leftOut, load, main, mixed, noticesCuts, setting, shortToken, sockjsTransport, sockjsUrl,
  token, unique, until,
} = require('./support.cjs');

const [, , format, mode, ...rest] = process.argv;
const overSockjs = sockjsTransport(format ?? '');
if (!overSockjs && !['json', 'protobuf'].includes(format)) {
  console.error('usage: v1.cjs <json|protobuf|sockjs-TRANSPORT> [mixed <name> <channel> <total>]');
  process.exit(2);
}
const binary = format === 'protobuf';
const bundle = load(binary ? 'centrifuge-v1/dist/centrifuge.protobuf.js' : 'centrifuge-v1');
const Centrifuge = bundle.default || bundle;
const WebSocket = load('ws');

const encode = (value) => (binary ? new TextEncoder().encode(JSON.stringify(value)) : value);
const decode = (data) => (binary ? JSON.parse(new TextDecoder().decode(data)) : data);
const number = (value) => Number(value || 0);

const CLIENT_EVENTS = ['connect', 'disconnect', 'error', 'subscribe', 'unsubscribe', 'publish'];
const SUBSCRIPTION_EVENTS = ['subscribe', 'unsubscribe', 'publish', 'join', 'leave', 'error'];

function create(token_, options = {}, url = setting('SDK_WS_URL')) {
  const transport = overSockjs
    ? { sockjs: load('sockjs-client'), sockjsTransports: [overSockjs] }
    : { websocket: WebSocket };
  const address = overSockjs ? sockjsUrl(url) : url;
  const client = new Centrifuge(binary ? `${address}?format=protobuf` : address, {
    ...transport, minRetry: 20, maxRetry: 100, ...options,
  });
  if (token_) client.setToken(token_);
  return { client, events: new Events(client, CLIENT_EVENTS) };
}

async function connect(token_, options, url) {
  const made = create(token_, options, url);
  made.client.connect();
  made.connected = await made.events.next('connect');
  return made;
}

function start(client, channel) {
  const handlers = {};
  const events = new Events({ on: (name, handler) => { handlers[name] = handler; } }, SUBSCRIPTION_EVENTS);
  return { sub: client.subscribe(channel, handlers), events };
}

async function subscribe(client, channel) {
  const started = start(client, channel);
  started.subscribed = await started.events.next('subscribe');
  return started;
}

const as = (user) => token({ sub: user });

async function refused(token_, reason) {
  const { client, events } = create(token_);
  client.connect();
  assert.deepEqual(await events.next('disconnect'), { reason, reconnect: false });
}

// ---- checks ---------------------------------------------------------------------------------

async function connections() {
  await check('connect with a token', async () => {
    const { client, connected } = await connect(as('alice'));
    assert.match(connected.client, /^[0-9a-f-]{36}$/);
    if (overSockjs) assert.equal(connected.transport, format);
    client.disconnect();
  });
  await check('connect without a token is refused', () => refused('', 'bad request'));
  await check('a wrong token is refused', () => refused(as('alice').slice(0, -4) + 'AAAA', 'invalid token'));
  await check('an expired token is exchanged for a new one', async () => {
    let asked = 0;
    const onRefresh = (_, answer) => {
      asked += 1;
      answer({ status: 200, data: { token: shortToken('alice', 60) } });
    };
    const { client, events } = create(shortToken('alice', -10), { onRefresh });
    client.connect();
    assert.deepEqual(await events.next('disconnect'), { reason: 'connect error', reconnect: true });
    await events.next('connect');
    assert.equal(asked, 1);
    client.disconnect();
  });
  await check('a short token is refreshed on the same connection', async () => {
    let asked = 0;
    const onRefresh = (_, answer) => {
      asked += 1;
      answer({ status: 200, data: { token: shortToken('alice', 2) } });
    };
    const { client, events } = await connect(shortToken('alice', 2), { onRefresh });
    // The second question comes after the life that the first refresh was answered with.
    await until(() => asked >= 2);
    assert.equal(client.isConnected(), true);
    assert.equal(events.count('disconnect'), 0);
    client.disconnect();
  });
  await check('the API disconnects for good', async () => {
    const user = unique('user');
    const { events } = await connect(as(user));
    await api('disconnect', { user });
    const expected = { reason: 'force disconnect', reconnect: false };
    assert.deepEqual(await events.next('disconnect'), expected);
  });
  leftOut('codes of disconnects', 'this SDK tells the reason and whether to reconnect, not the code');
}

async function subscriptions() {
  const channel = unique('open');
  const { client, connected } = await connect(as('alice'));
  const { sub, events } = await subscribe(client, channel);

  await check('a publication arrives', async () => {
    await sub.publish(encode({ text: 'héllo' }));
    const own = await events.next('publish');
    assert.deepEqual(decode(own.data), { text: 'héllo' });
    assert.equal(number(own.offset), 1);
    assert.equal(own.info.user, 'alice');
    assert.equal(own.info.client, connected.client);
    await api('publish', { channel, data: { from: 'api' } });
    const other = await events.next('publish');
    assert.deepEqual(decode(other.data), { from: 'api' });
    assert.ok(!other.info);
  });
  leftOut('tags of publications', 'this SDK does not hand them on');
  await check('presence shows who is there', async () => {
    const { presence } = await sub.presence();
    assert.deepEqual(Object.keys(presence), [connected.client]);
    assert.equal(presence[connected.client].user, 'alice');
    const stats = await sub.presenceStats();
    assert.equal(stats.num_clients, 1);
    assert.equal(stats.num_users, 1);
  });
  await check('joins and leaves arrive', async () => {
    const other = await connect(as('bob'));
    const { sub: theirs } = await subscribe(other.client, channel);
    const join = await events.next('join', (context) => context.info.user === 'bob');
    assert.equal(join.info.client, other.connected.client);
    theirs.unsubscribe();
    const leave = await events.next('leave', (context) => context.info.user === 'bob');
    assert.equal(leave.info.client, other.connected.client);
    other.client.disconnect();
  });
  await check('after unsubscribing nothing arrives', async () => {
    sub.unsubscribe();
    await until(async () => (await api('presence_stats', { channel })).num_clients === 0);
    await api('publish', { channel, data: { late: true } });
    // What is published later elsewhere arrives, so the other would have arrived as well.
    const fence = await subscribe(client, unique('open'));
    await api('publish', { channel: fence.sub.channel, data: {} });
    await fence.events.next('publish');
    assert.equal(events.count('publish'), 0);
  });
  await check('an unknown namespace is error 102', () => failed(client, unique('nowhere'), 102));
  await check('a forbidden channel is error 103', () => failed(client, unique('closed'), 103));
  await check('a forbidden publish is error 103', async () => {
    const refusal = client.publish(unique('closed'), encode({}));
    await assert.rejects(refusal, (error) => error.code === 103);
  });
  client.disconnect();
}

async function failed(client, channel, code) {
  const { events } = start(client, channel);
  const context = await events.next('error');
  assert.equal(context.code, code, JSON.stringify(context));
}

async function history() {
  await check('history is read forwards and backwards', async () => {
    const channel = unique('open');
    const { client } = await connect(as('alice'));
    const { sub } = await subscribe(client, channel);
    for (let n = 1; n <= 5; n += 1) await api('publish', { channel, data: { n } });
    const read = async (options) => {
      const page = await sub.history(options);
      assert.equal(number(page.offset), 5);
      return (page.publications || []).map((publication) => decode(publication.data).n);
    };
    const { epoch } = await sub.history({ limit: 1 });
    assert.ok(epoch);
    assert.deepEqual(await read({ limit: 100 }), [1, 2, 3, 4, 5]);
    assert.deepEqual(await read({ limit: 2 }), [1, 2]);
    assert.deepEqual(await read({ limit: 100, reverse: true }), [5, 4, 3, 2, 1]);
    assert.deepEqual(await read({ limit: 2, since: { offset: 2, epoch } }), [3, 4]);
    assert.deepEqual(await read({ limit: 2, since: { offset: 4, epoch }, reverse: true }), [3, 2]);
    const lost = sub.history({ limit: 1, since: { offset: 2, epoch: 'another' } });
    await assert.rejects(lost, (error) => error.code === 112);
    client.disconnect();
  });
}

async function recovery() {
  if (!noticesCuts(overSockjs)) {
    leftOut('recovery after a cut', 'outside browsers this client of SockJS does not notice one');
    return;
  }
  await check('ten messages are recovered after a cut', async () => {
    const gate = new Gate();
    const channel = unique('open');
    const { client, events: connection } = await connect(as('alice'), {}, await gate.url());
    const { events } = await subscribe(client, channel);
    await api('publish', { channel, data: { n: 0 } });
    await events.next('publish');
    gate.cut();
    assert.equal((await connection.next('disconnect')).reconnect, true);
    for (let n = 1; n <= 10; n += 1) await api('publish', { channel, data: { n } });
    gate.open();
    const again = await events.next('subscribe');
    assert.equal(again.isResubscribe, true);
    assert.equal(again.recovered, true);
    await api('publish', { channel, data: { n: 11 } });
    const contexts = await events.take('publish', 11);
    const expected = Array.from({ length: 11 }, (_, index) => index + 1);
    assert.deepEqual(contexts.map((context) => decode(context.data).n), expected);
    assert.deepEqual(contexts.map((context) => number(context.offset)), expected.map((n) => n + 1));
    client.disconnect();
  });
}

async function serverSide() {
  await check('a server-side subscription comes with the token', async () => {
    const [channel, user] = [unique('open'), unique('user')];
    const { client, events } = await connect(token({ sub: user, channels: [channel] }));
    assert.equal((await events.next('subscribe')).channel, channel);
    await api('publish', { channel, data: { n: 1 } });
    const publication = await events.next('publish');
    assert.equal(publication.channel, channel);
    assert.deepEqual(decode(publication.data), { n: 1 });
    await api('unsubscribe', { user, channel });
    assert.equal((await events.next('unsubscribe')).channel, channel);
    const later = unique('open');
    await api('subscribe', { user, channel: later });
    assert.equal((await events.next('subscribe')).channel, later);
    client.disconnect();
  });
}

async function one([name, channel, total]) {
  const { client } = await connect(as(name));
  const { sub, events } = await subscribe(client, channel);
  await mixed({
    name,
    total: Number(total),
    publish: (value) => sub.publish(encode(value)),
    received: async () => decode((await events.next('publish')).data),
  });
}

main(async () => {
  if (mode === 'mixed') {
    await one(rest);
    return;
  }
  await connections();
  await subscriptions();
  await history();
  await recovery();
  await serverSide();
});
