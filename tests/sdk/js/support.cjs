// What the JavaScript programs share: settings, tokens, the server API, a cuttable way to the server, checks, events.
//
// Settings come from the environment: SDK_WS_URL, SDK_API_URL, SDK_API_KEY, SDK_SECRET; packages are loaded from the
// node_modules in the folder CENTRIPETAL_SDK_JS.
'use strict';

const { createHmac, randomUUID } = require('node:crypto');
const { createRequire } = require('node:module');
const net = require('node:net');
const path = require('node:path');
const readline = require('node:readline');

const CHECK_MS = 15_000;
const TOTAL_MS = 60_000;

function setting(name) {
  const value = process.env[name];
  if (!value) {
    console.error(`${name} is not set`);
    process.exit(2);
  }
  return value;
}

const load = createRequire(path.join(setting('CENTRIPETAL_SDK_JS'), 'package.json'));

// ---- server ---------------------------------------------------------------------------------

function token(claims) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}`;
  const mac = createHmac('sha256', setting('SDK_SECRET')).update(signed).digest('base64url');
  return `${signed}.${mac}`;
}

/** A token that lives so many seconds; negative for an expired one. */
function shortToken(user, seconds, claims = {}) {
  return token({ sub: user, exp: Math.floor(Date.now() / 1000) + seconds, ...claims });
}

async function api(method, params) {
  const answer = await fetch(`${setting('SDK_API_URL')}/${method}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-api-key': setting('SDK_API_KEY') },
    body: JSON.stringify(params),
  });
  const body = await answer.json();
  if (answer.status !== 200 || body.error) {
    throw new Error(`API ${method}: ${answer.status} ${JSON.stringify(body)}`);
  }
  return body.result;
}

/** A way to the server that can be cut and opened again; nothing gets through while it is cut. */
class Gate {
  constructor() {
    this.target = new URL(setting('SDK_WS_URL'));
    this.sockets = new Set();
    this.closed = false;
    this.server = net.createServer((client) => this.accept(client));
  }

  accept(client) {
    client.on('error', () => {});
    if (this.closed) {
      client.destroy();
      return;
    }
    const upstream = net.connect(Number(this.target.port), this.target.hostname);
    for (const socket of [client, upstream]) {
      this.sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        this.sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    client.pipe(upstream).pipe(client);
  }

  async url() {
    await new Promise((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    const url = new URL(this.target);
    url.port = String(this.server.address().port);
    return url.toString();
  }

  cut() {
    this.closed = true;
    for (const socket of this.sockets) socket.destroy();
  }

  open() {
    this.closed = false;
  }
}

// ---- SockJS ---------------------------------------------------------------------------------

/** The transport of SockJS that a format such as `sockjs-xhr-polling` names; null for other formats. */
function sockjsTransport(format) {
  return format.startsWith('sockjs-') ? format.slice('sockjs-'.length) : null;
}

/** Where SockJS is, for whoever has the address of the WebSocket. */
function sockjsUrl(webSocketUrl) {
  const url = new URL(webSocketUrl);
  url.protocol = url.protocol === 'wss:' ? 'https:' : 'http:';
  url.pathname = '/connection/sockjs';
  return url.toString();
}

/** Outside browsers `sockjs-client` does not notice that a streamed answer was cut; a person would wait for the next ping. */
function noticesCuts(transport) {
  return !['xhr-streaming', 'eventsource'].includes(transport);
}

// ---- events ---------------------------------------------------------------------------------

/** Everything an emitter tells, in order; waits for what has not come yet. */
class Events {
  constructor(emitter, names) {
    this.seen = [];
    this.waiting = [];
    for (const name of names) {
      emitter.on(name, (context) => this.add(name, context));
    }
  }

  add(name, context) {
    const event = { name, context };
    const index = this.waiting.findIndex((wait) => wait.matches(event));
    if (index < 0) {
      this.seen.push(event);
    } else {
      this.waiting.splice(index, 1)[0].resolve(context);
    }
  }

  /** Takes the first event of this name (and condition), one that has come already or the next to come. */
  next(name, condition = () => true) {
    const matches = (event) => event.name === name && condition(event.context);
    const index = this.seen.findIndex(matches);
    if (index >= 0) {
      return Promise.resolve(this.seen.splice(index, 1)[0].context);
    }
    return new Promise((resolve) => this.waiting.push({ matches, resolve }));
  }

  async take(name, count) {
    const contexts = [];
    while (contexts.length < count) contexts.push(await this.next(name));
    return contexts;
  }

  count(name) {
    return this.seen.filter((event) => event.name === name).length;
  }
}

/** Repeats a question until it has the wanted answer; the check's time limit ends it otherwise. */
async function until(question) {
  while (!(await question())) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

// ---- checks ---------------------------------------------------------------------------------

let passed = 0;

function fail(name, error) {
  console.log(`FAILED ${name}: ${error instanceof Error ? error.stack : JSON.stringify(error)}`);
  process.exit(1);
}

/** Runs one check; the first that fails ends the program. */
async function check(name, body) {
  let timer;
  const limit = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done within ${CHECK_MS} ms`)), CHECK_MS);
  });
  try {
    await Promise.race([body(), limit]);
  } catch (error) {
    fail(name, error);
  }
  clearTimeout(timer);
  passed += 1;
  console.log(`ok ${name}`);
}

function leftOut(name, reason) {
  console.log(`left out ${name}: ${reason}`);
}

/** Runs the program within the overall time limit. */
function main(body, limit = TOTAL_MS) {
  process.on('unhandledRejection', (error) => fail('unhandled rejection', error));
  setTimeout(() => fail('program', new Error(`not done within ${limit} ms`)), limit).unref();
  body().then(
    () => {
      if (passed > 0) console.log(`${passed} checks passed`);
      process.exit(0);
    },
    (error) => fail('program', error),
  );
}

// ---- mixed ----------------------------------------------------------------------------------

const MIXED_MESSAGES = 100;

/**
 * One of many clients in a channel: tells that it is ready, waits for the line "go", publishes its messages, prints
 * every message it receives and ends after `total`.
 */
async function mixed({ name, total, publish, received }) {
  const lines = readline.createInterface({ input: process.stdin });
  const go = new Promise((resolve) => lines.on('line', (line) => line === 'go' && resolve()));
  console.log(JSON.stringify({ ready: name }));
  await go;
  const publishing = (async () => {
    for (let n = 0; n < MIXED_MESSAGES; n += 1) await publish({ from: name, n });
  })();
  let out = '';
  for (let n = 0; n < total; n += 1) out += `${JSON.stringify(await received())}\n`;
  await publishing;
  await new Promise((resolve) => process.stdout.write(out, resolve));
}

/** A channel nobody else uses. */
function unique(namespace) {
  return `${namespace}:${randomUUID()}`;
}

module.exports = {
  Events, Gate, TOTAL_MS, api, check, leftOut, load, main, mixed, noticesCuts, setting, shortToken, sockjsTransport, sockjsUrl,
  token, unique, until,
};
