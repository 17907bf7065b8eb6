// The demo page lets a person choose the way to the gateway. Where WebSocket is blocked the SDK takes the next way by itself.
//
//   node transports.mjs <open|blocked>
import {
  Tab, check, main, picture, same, until, withBrowser,
} from './support.mjs';

const blocked = process.argv[2] === 'blocked';

const inUse = (tab) => tab.page.locator('#transport').textContent();

async function connectedOver(tab, transport) {
  await until(`connected over ${transport}`, async () => await inUse(tab) === transport);
  await tab.state('connected');
}

/** Chooses a way, and sees that it carries messages both ways. */
async function take(tab, way, transport) {
  await tab.page.locator('#way').selectOption(way);
  await connectedOver(tab, transport);
  await until('a fresh page of messages', async () => (await tab.texts()).length === 0);
  await tab.say(`over ${way}`);
  await until('it comes back', async () => (await tab.texts()).includes(`over ${way}`));
  const frames = await tab.page.locator('#raw li').allTextContents();
  check(frames.some((text) => text.includes('←') && text.includes(`over ${way}`)), `frames of ${way} are shown: ${frames.slice(0, 9)}`);
  check(frames.some((text) => text.includes('→') && text.includes(`over ${way}`)), `commands of ${way} are shown`);
  console.log(`ok ${way}`);
}

/** Cut for five seconds, and nothing is missed. */
async function survives(tab, other, way) {
  await tab.page.locator('#cut').click();
  await tab.state('connecting');
  await other.say(`while ${way} was cut`);
  await until('recovered', async () => (await tab.texts()).includes(`while ${way} was cut`));
  await tab.state('connected');
  console.log(`ok ${way} cut`);
}

await main(() => withBrowser({}, async (context) => {
  const tab = await Tab.open(context);
  const other = await Tab.open(context);
  if (blocked) {
    for (const one of [tab, other]) await connectedOver(one, 'http_stream');
    check(tab.sockets.length > 0, 'WebSocket was tried first');
    await other.say('WebSocket is blocked here');
    await until('it comes all the same', async () => (await tab.texts()).length === 1);
    await picture(tab.page, 'fallback');
  } else {
    await connectedOver(tab, 'websocket');
    await take(tab, 'websocket', 'websocket');
  }
  for (const [way, transport] of [['http_stream', 'http_stream'], ['sse', 'sse'], ['sockjs', 'sockjs-xhr-streaming']]) {
    await take(tab, way, transport);
    if (!blocked) await survives(tab, other, way);
    await picture(tab.page, `transport-${way}${blocked ? '-blocked' : ''}`);
  }
  if (!blocked) await take(tab, 'automatic', 'websocket');
  same([...tab.problems, ...other.problems], [], 'problems');
}));
