// SockJS in a page: each of its transports alone, from the same origin and across origins, with the SDK of the generation
// before (`centrifuge` 2.8.5, V1) and the present one.
//
//   node sockjs.mjs <same|cross>     BROWSER_TOKENS: a token; BROWSER_FOREIGN: the same page under another allowed name;
//                                    BROWSER_EVIL: the same page under a name that is not allowed
import {
  check, main, packaged, same, setting, until, withBrowser,
} from './support.mjs';

const SOCKJS = packaged('sockjs-client/dist/sockjs.js');
const SDKS = { v1: packaged('centrifuge-v1/dist/centrifuge.js'), v2: packaged('centrifuge/dist/centrifuge.js') };
const [token] = setting('BROWSER_TOKENS').split(' ');

/** Transports, and the last part of the requests they are known by. */
const SAME_ORIGIN = {
  websocket: 'websocket',
  'xhr-streaming': 'xhr_streaming',
  'xhr-polling': 'xhr',
  eventsource: 'eventsource',
  htmlfile: 'htmlfile',
  'jsonp-polling': 'jsonp',
};
/** Those that work in a frame of the server's origin, by the iframe page; and those that need no frame. */
const CROSS_ORIGIN = {
  websocket: 'websocket',
  'xhr-streaming': 'xhr_streaming',
  'xhr-polling': 'xhr',
  'iframe-eventsource': 'eventsource',
  'iframe-htmlfile': 'htmlfile',
  'iframe-xhr-polling': 'xhr',
  'jsonp-polling': 'jsonp',
};

/** Runs in the page: connects, subscribes, and keeps what it sees. */
function participate({ sdk, token: own, url, transport, channel }) {
  const seen = { transport: '', messages: [], subscribed: 0, ends: [] };
  const address = `${url}connection/sockjs`;
  const listen = {
    v1() {
      const client = new window.Centrifuge(address, { sockjs: window.SockJS, sockjsTransports: [transport], minRetry: 50 });
      client.setToken(own);
      client.on('connect', (context) => { seen.transport = context.transport; });
      client.on('disconnect', (context) => seen.ends.push([context.reason, context.reconnect]));
      const room = client.subscribe(channel, {
        subscribe: () => { seen.subscribed += 1; },
        publish: ({ data }) => seen.messages.push(data.n),
      });
      client.connect();
      return { publish: (n) => room.publish({ n }), leave: () => client.disconnect() };
    },
    v2() {
      const client = new window.Centrifuge([{ transport: 'sockjs', endpoint: address }], {
        sockjs: window.SockJS, sockjsOptions: { transports: [transport] }, token: own, minReconnectDelay: 50,
      });
      client.on('connected', (context) => { seen.transport = context.transport; });
      client.on('disconnected', (context) => seen.ends.push([context.code, context.reason]));
      const room = client.newSubscription(channel);
      room.on('subscribed', () => { seen.subscribed += 1; });
      room.on('publication', ({ data }) => seen.messages.push(data.n));
      room.subscribe();
      client.connect();
      return { publish: (n) => room.publish({ n }), leave: () => client.disconnect() };
    },
  };
  window.test = { seen, ...listen[sdk]() };
}

/** A page of this address with SockJS and an SDK in it, and the paths it asks for. */
async function prepared(context, address, sdk) {
  const page = await context.newPage();
  const paths = [];
  page.on('request', (request) => paths.push(new URL(request.url()).pathname));
  page.on('websocket', (socket) => paths.push(new URL(socket.url()).pathname));
  await page.goto(address);
  await page.addScriptTag({ content: SOCKJS });
  await page.addScriptTag({ content: SDKS[sdk] });
  return { page, paths };
}

async function talk(context, [sdk, transport, path], [address, url]) {
  const what = `${transport} (${sdk})`;
  const { page, paths } = await prepared(context, address, sdk);
  const channel = `room:${sdk}-${transport}-${new URL(address).hostname}`;
  await page.evaluate(participate, { sdk, token, url, transport, channel });
  const seen = () => page.evaluate(() => window.test.seen);
  await until(`${what} subscribes`, async () => (await seen()).subscribed > 0);
  same((await seen()).transport, `sockjs-${transport}`, 'transport');
  const all = [1, 2, 3, 4, 5];
  for (const n of all) await page.evaluate((number) => window.test.publish(number), n);
  await until(`${what} hears all`, async () => (await seen()).messages.length >= all.length);
  same((await seen()).messages, all, `${what}: every message once, in order`);
  check((await seen()).subscribed === 1 && (await seen()).ends.length === 0, `${what} was connected all the time`);
  const used = new Set(paths.map((asked) => asked.split('/').at(-1)));
  check(used.has(path), `${what} used ${[...used]}, not ${path}`);
  await page.evaluate(() => window.test.leave());
  await page.close();
  console.log(`ok ${what} at ${new URL(address).hostname}`);
}

/** A website that is not allowed gets nowhere, and nothing it sends blindly is done. */
async function refused(context) {
  const { page } = await prepared(context, setting('BROWSER_EVIL'), 'v2');
  const url = setting('BROWSER_URL');
  const channel = 'room:evil';
  await page.evaluate(participate, { sdk: 'v2', token, url, transport: 'xhr-streaming', channel });
  const blind = await page.evaluate(async ({ base, own }) => {
    const session = `${base}connection/sockjs/000/${Math.random().toString(36).slice(2)}`;
    const post = (path, body) => fetch(`${session}/${path}`, { method: 'POST', mode: 'no-cors', credentials: 'include', body });
    const frame = (command) => JSON.stringify([JSON.stringify(command)]);
    const stream = post('xhr_streaming', '');
    await new Promise((resolve) => { setTimeout(resolve, 500); });
    await post('xhr_send', frame({ connect: { token: own }, id: 1 }));
    await post('xhr_send', frame({ subscribe: { channel: 'room:evil' }, id: 2 }));
    await post('xhr_send', frame({ publish: { channel: 'room:evil', data: { n: 666 } }, id: 3 }));
    return (await stream).type;
  }, { base: url, own: token });
  same(blind, 'opaque', 'what a foreign page may know of an answer');
  check((await page.evaluate(() => window.test.seen)).subscribed === 0, 'a foreign page does not connect');
  const own = await prepared(context, url, 'v2');
  await own.page.evaluate(participate, { sdk: 'v2', token, url, transport: 'websocket', channel });
  await until('the room can be entered', async () => (await own.page.evaluate(() => window.test.seen)).subscribed > 0);
  await own.page.evaluate(() => window.test.publish(1));
  await until('it is heard', async () => (await own.page.evaluate(() => window.test.seen)).messages.length > 0);
  same((await own.page.evaluate(() => window.test.seen)).messages, [1], 'messages in the room');
}

await main(() => withBrowser({}, async (context) => {
  const url = setting('BROWSER_URL');
  // The page of the frames has the client from the operator; here that is this program.
  await context.route('**/sockjs-client.js', (route) => route.fulfill({ contentType: 'text/javascript', body: SOCKJS }));
  if (process.argv[2] === 'same') {
    for (const sdk of Object.keys(SDKS)) {
      for (const [transport, path] of Object.entries(SAME_ORIGIN)) await talk(context, [sdk, transport, path], [url, url]);
    }
    return;
  }
  for (const [transport, path] of Object.entries(CROSS_ORIGIN)) {
    await talk(context, ['v1', transport, path], [setting('BROWSER_FOREIGN'), url]);
  }
  await refused(context);
}));
