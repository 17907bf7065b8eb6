// A website on another origin cannot use a development server, whatever it tries.
import { createServer } from 'node:http';
import { once } from 'node:events';
import { Tab, check, main, same, setting, withBrowser } from './support.mjs';

const own = new URL(setting('BROWSER_URL'));

/** A name that the browser believes to be this machine. */
const REBOUND = 'rebound.example';

/** A website of somebody else. */
async function website() {
  const server = createServer((_, response) => {
    response.setHeader('content-type', 'text/html');
    response.end('<!doctype html><title>elsewhere</title>');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

/** What a page gets when it opens a socket. */
const opens = (page, url) => page.evaluate((address) => new Promise((resolve) => {
  const socket = new WebSocket(address);
  socket.onopen = () => resolve('open');
  socket.onclose = (event) => resolve(`closed ${event.code}`);
}), url);

/** What a page can read of an answer. */
const reads = (page, url) => page.evaluate(async (address) => {
  try {
    return await (await fetch(address)).text();
  } catch {
    return 'unreadable';
  }
}, url);

await main(() => withBrowser({ flags: [`--host-resolver-rules=MAP ${REBOUND} 127.0.0.1`] }, async (context) => {
  const socket = `ws://${own.host}/connection/websocket`;
  const { page: home } = await Tab.open(context);
  same(await opens(home, socket), 'open', 'its own page');
  check((await reads(home, '/dev/session')).includes('token'), 'its own page gets a session');

  const server = await website();
  const elsewhere = await context.newPage();
  const devtools = await context.newCDPSession(elsewhere);
  await devtools.send('Network.enable');
  const handshakes = [];
  devtools.on('Network.webSocketHandshakeResponseReceived', ({ response }) => handshakes.push(response.status));
  const refusals = [];
  devtools.on('Network.webSocketFrameError', ({ errorMessage }) => refusals.push(errorMessage));
  await elsewhere.goto(`http://127.0.0.1:${server.address().port}/`);
  same(await opens(elsewhere, socket), 'closed 1006', 'a page of another origin');
  const seen = JSON.stringify([...handshakes, ...refusals]);
  check(seen.includes('403'), `the server refuses it: ${seen}`);
  same(await reads(elsewhere, new URL('/dev/session', own).href), 'unreadable', 'no session for it');

  // A website's own name that leads here, as after DNS rebinding: not even the page, and no socket from it.
  const rebound = `${REBOUND}:${own.port}`;
  const answer = await elsewhere.goto(`http://${rebound}/`);
  same(answer.status(), 403, 'a name that was pointed here');
  handshakes.length = 0;
  refusals.length = 0;
  same(await opens(elsewhere, `ws://${rebound}/connection/websocket`), 'closed 1006', 'a socket by that name');
  const again = JSON.stringify([...handshakes, ...refusals]);
  check(again.includes('403'), `the server refuses it: ${again}`);
  server.close();
}));
