// The demo page, through nginx with TLS: two tabs and a gRPC client share a channel, lose the network in three ways, and
// miss nothing.
//
//   node demo.mjs           BROWSER_GRPC: the public address; BROWSER_DIRECT: the gateway itself, for publishing meanwhile
import {
  PATIENCE, Subscriber, Tab, ask, check, cli, main, picture, same, setting, until, withBrowser,
} from './support.mjs';

const CHANNEL = 'demo';
const publicly = setting('BROWSER_GRPC');
const directly = setting('BROWSER_DIRECT');

/** Every text that was published, in order. */
const published = [];

async function says(tab, text) {
  published.push(text);
  await tab.say(text);
}

/** A gRPC client publishes, which others have to see. */
async function publishes(url, texts) {
  for (const text of texts) {
    published.push(text);
    await cli('pub', CHANNEL, JSON.stringify({ text }), '--url', url);
  }
}

/** Everybody has every message, once and in order. */
async function complete(what, ...readers) {
  for (const read of readers) {
    let seen = [];
    const there = async () => {
      seen = await read();
      return seen.length >= published.length;
    };
    await until(`${what}: ${published.length} messages`, there).catch((error) => {
      throw new Error(`${error.message}; seen: ${JSON.stringify(seen)}`);
    });
    same(seen, published, what);
  }
}

const badges = async (tab, texts) => {
  const messages = await tab.messages();
  return texts.map((text) => messages.find((message) => message.text === text).badge);
};

async function meet(context) {
  const ann = await Tab.open(context);
  const bob = await Tab.open(context);
  const grpc = new Subscriber(publicly, CHANNEL);
  await grpc.subscribed();
  for (const tab of [ann, bob]) {
    await until('three are present', async () => (await tab.people()).length === 3);
    same(tab.sockets, [`${setting('BROWSER_URL').replace('https', 'wss')}connection/websocket`], 'one socket, with TLS');
    same(await tab.page.locator('#transport').textContent(), 'websocket', 'transport');
  }
  const [first, second] = [await ann.name(), await bob.name()];
  check(first !== second, 'every tab is somebody else');
  same((await bob.people()).filter((name) => !name.startsWith(first) && !name.startsWith(`${second} you`)).length, 1,
    'the third is the gRPC client');
  const joins = async (tab) => (await tab.traffic()).filter((line) => line.endsWith('joined')).length;
  // Everybody sees the own join and the later ones.
  await until('joins of three', async () => await joins(ann) === 3 && await joins(bob) === 2);
  return { ann, bob, grpc };
}

async function chat({ ann, bob, grpc }) {
  await says(ann, 'Is the dashboard live already?');
  await until('the other tab has it', async () => (await bob.texts()).length === 1);
  await says(bob, 'Yes, since this morning. Same channel, no polling.');
  await publishes(publicly, ['build 4711 deployed', 'all 12 regions healthy']);
  await complete('a chat', () => ann.texts(), () => bob.texts(), () => grpc.texts);
  const messages = await bob.messages();
  same(messages.map((message) => message.offset), [1, 2, 3, 4], 'offsets');
  same(messages.slice(0, 2).map((message) => message.from), [await ann.name(), await bob.name()], 'who said it');
  for (const { latency } of messages.slice(0, 2)) check(/^\d+ ms$/.test(latency), `latency: ${latency}`);
  const median = await bob.page.locator('#latency').textContent();
  check(/^\d+ ms$/.test(median), `median latency: ${median}`);
}

/** The page's own button. */
async function cutByButton({ ann, bob, grpc }) {
  await ann.page.locator('#cut').click();
  await ann.state('connecting');
  const missed = ['queue drained', 'cache warmed up', 'nightly report ready'];
  await publishes(publicly, missed);
  await complete('the other tab goes on', () => bob.texts());
  check((await ann.texts()).length < published.length, 'nothing comes while the connection is cut');
  await ann.state('connected');
  await complete('after the button', () => ann.texts(), () => grpc.texts);
  same(await badges(ann, missed), missed.map(() => 'recovered'), 'badges');
  const outcome = await ann.page.locator('#recovery').textContent();
  same(outcome, 'Connected again; 3 missed messages recovered.', 'what the page says');
  await until('its return shows', async () => (await bob.people()).length === 3);
}

/**
 * DevTools' "offline", for one tab. Chromium leaves an open socket alone; the page gets the event of that name, upon which
 * the SDK gives its socket up, and new ones are refused until the end.
 */
async function cutByBrowser(context, { ann, bob, grpc }) {
  const devtools = await context.newCDPSession(bob.page);
  await devtools.send('Network.enable');
  const network = (offline) => devtools.send('Network.emulateNetworkConditions', {
    offline, latency: 0, downloadThroughput: -1, uploadThroughput: -1,
  });
  await network(true);
  await bob.state('connecting');
  const missed = Array.from({ length: 5 }, (_, number) => `while offline ${number + 1}`);
  await publishes(publicly, missed);
  await complete('the other tab goes on', () => ann.texts());
  check((await bob.texts()).length < published.length, 'nothing comes while the browser is offline');
  await network(false);
  await bob.state('connected');
  await complete('after being offline', () => bob.texts(), () => grpc.texts);
  same(await badges(bob, missed), missed.map(() => 'recovered'), 'badges');
}

/** nginx is killed, so every socket is gone at once, and the gRPC stream as well. */
async function cutByFront({ ann, bob, grpc }) {
  await ask('kill');
  for (const tab of [ann, bob]) await tab.state('connecting');
  await publishes(directly, Array.from({ length: 5 }, (_, number) => `while nginx was away ${number + 1}`));
  await ask('restart');
  for (const tab of [ann, bob]) await tab.state('connected');
  await complete('after nginx came back', () => ann.texts(), () => bob.texts(), () => grpc.texts);
  await says(ann, 'and on it goes');
  await complete('after nginx came back', () => bob.texts(), () => ann.texts(), () => grpc.texts);
}

async function part(context, { ann, bob, grpc }) {
  const left = async (tab) => (await tab.traffic()).filter((line) => line.endsWith('left')).length;
  await until('three again', async () => (await ann.people()).length === 3);
  const before = await left(ann);
  await grpc.end();
  await until('the gRPC client has left', async () => await left(ann) > before && (await ann.people()).length === 2);
  await bob.page.close();
  await until('the other tab has left', async () => (await ann.people()).length === 1);
  const late = await Tab.open(context);
  same(await late.texts(), [], 'a new tab begins empty');
  await late.page.locator('#history').click();
  await complete('history of a new tab', () => late.texts());
  same(ann.problems.concat(bob.problems, late.problems), [], 'errors of the page');
}

await main(() => withBrowser({ colorScheme: 'light' }, async (context) => {
  const all = await meet(context);
  await chat(all);
  await cutByButton(all);
  await picture(all.ann.page, 'demo', { timeout: PATIENCE });
  await cutByBrowser(context, all);
  await cutByFront(all);
  await part(context, all);
}));
