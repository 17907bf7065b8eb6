// The official SDK in a page of one's own, against a gateway in production's shape: behind nginx with TLS, connection
// tokens, and one allowed origin.
//
//   node sdk.mjs     BROWSER_TOKENS: tokens for two users; BROWSER_FOREIGN: the same page elsewhere
import {
  check, main, packaged, same, setting, until, withBrowser,
} from './support.mjs';

const FORMATS = {
  json: { bundle: packaged('centrifuge/dist/centrifuge.js'), binary: false, frames: ['string'] },
  protobuf: { bundle: packaged('centrifuge/dist/centrifuge.protobuf.js'), binary: true, frames: ['object'] },
};
const [annToken, bobToken] = setting('BROWSER_TOKENS').split(' ');

/** Runs in the page: connects and subscribes, and keeps what it sees for later questions. */
function participate({ token, channel, binary }) {
  const encode = (value) => (binary ? new TextEncoder().encode(JSON.stringify(value)) : value);
  const decode = (data) => (binary ? JSON.parse(new TextDecoder().decode(data)) : data);
  const sockets = [];
  class Kept extends WebSocket {
    constructor(url, protocols) {
      super(url, protocols);
      sockets.push(this);
      this.addEventListener('message', ({ data }) => { seen.frames.push(typeof data); });
    }
  }
  const seen = { states: [], messages: [], recovered: [], joins: [], errors: [], frames: [] };
  const client = new window.Centrifuge(`wss://${location.host}/connection/websocket`, {
    token, websocket: Kept, minReconnectDelay: 50, maxReconnectDelay: 500,
  });
  for (const state of ['connecting', 'connected', 'disconnected']) {
    client.on(state, (context) => seen.states.push(`${state} ${context.code ?? context.transport}`));
  }
  client.on('error', ({ error }) => seen.errors.push(`${error.code} ${error.message}`));
  const room = client.newSubscription(channel);
  room.on('subscribed', (context) => {
    if (context.wasRecovering) seen.recovered.push(context.recovered);
  });
  room.on('publication', ({ data }) => seen.messages.push(decode(data).n));
  room.on('join', ({ info }) => seen.joins.push(info.user));
  room.subscribe();
  client.connect();
  window.test = {
    seen,
    publish: (n) => room.publish(encode({ n })),
    people: async () => Object.values((await room.presence()).clients).map((info) => info.user).sort(),
    history: async () => (await room.history({ limit: 100 })).publications.map(({ data }) => decode(data).n),
    drop: () => sockets.at(-1).close(),
  };
}

async function participant(context, url, token, format) {
  const { bundle, binary } = FORMATS[format];
  const page = await context.newPage();
  await page.goto(url);
  await page.addScriptTag({ content: bundle });
  await page.evaluate(participate, { token, channel: `room:${format}`, binary });
  return page;
}

const seen = (page) => page.evaluate(() => window.test.seen);

async function talk(context, format) {
  const url = setting('BROWSER_URL');
  const ann = await participant(context, url, annToken, format);
  const bob = await participant(context, url, bobToken, format);
  await until('both are connected', async () => (await seen(ann)).states.includes('connected websocket')
    && (await seen(bob)).states.includes('connected websocket'));
  await until('both are present', async () => {
    const people = await ann.evaluate(() => window.test.people()).catch(() => []);
    return people.join() === 'ann,bob';
  });
  await until('the join is seen', async () => (await seen(ann)).joins.includes('bob'));
  const kinds = new Set((await seen(ann)).frames);
  same([...kinds], FORMATS[format].frames, 'kind of frames');

  await ann.evaluate(() => window.test.publish(1));
  await bob.evaluate(() => window.test.publish(2));
  const both = async (count) => (await seen(ann)).messages.length >= count && (await seen(bob)).messages.length >= count;
  await until('both have both', () => both(2));

  // The socket goes; what is published before it is back is recovered.
  await context.setOffline(true);
  await until('it is noticed', async () => (await seen(bob)).states.at(-1).startsWith('connecting')
    && (await seen(ann)).states.at(-1).startsWith('connecting'));
  await context.setOffline(false);
  await until('both are back', async () => (await seen(ann)).recovered.length > 0 && (await seen(bob)).recovered.length > 0);
  await bob.evaluate(() => window.test.drop());
  for (let n = 3; n <= 12; n += 1) await ann.evaluate((number) => window.test.publish(number), n);
  await until('both have all', () => both(12));
  const all = Array.from({ length: 12 }, (_, index) => index + 1);
  for (const page of [ann, bob]) {
    const { messages, recovered, errors } = await seen(page);
    same(messages, all, 'every message once, in order');
    check(recovered.every(Boolean), `recovered: ${recovered}`);
    same(errors.filter((error) => !error.includes('transport closed')), [], 'errors');
    same(await page.evaluate(() => window.test.history()), all, 'history');
  }
  for (const page of [ann, bob]) await page.close();
}

/** The same page under a name that is not allowed, and with a token nobody signed. */
async function refused(context) {
  const foreign = await participant(context, setting('BROWSER_FOREIGN'), annToken, 'json');
  await until('a foreign origin is refused', async () => (await seen(foreign)).errors.length > 1);
  check(!(await seen(foreign)).states.some((state) => state.startsWith('connected')), 'a foreign origin never connects');
  const forged = await participant(context, setting('BROWSER_URL'), `${annToken.slice(0, -4)}AAAA`, 'json');
  await until('a forged token is refused', async () => (await seen(forged)).states.includes('disconnected 3500'));
}

await main(() => withBrowser({}, async (context) => {
  for (const format of Object.keys(FORMATS)) await talk(context, format);
  await refused(context);
}));
