// What the browser programs share: settings, Chromium, checks that wait, the demo page as an object, other processes.
//
// Settings come from the environment: BROWSER_URL (where the page is), BROWSER_CERTIFICATE (the one certificate to be
// trusted, when there is TLS), BROWSER_CLI (the executable under test), BROWSER_ARTEFACTS (a folder for pictures).
// Packages are loaded from the node_modules in the folder CENTRIPETAL_BROWSER; the browser is CENTRIPETAL_CHROMIUM.
import { spawn } from 'node:child_process';
import { X509Certificate, createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import readline from 'node:readline';

/** How long anything awaited may take, milliseconds; the machine may be busy. */
export const PATIENCE = 45_000;
const TOTAL = 170_000;

export function setting(name) {
  const value = process.env[name];
  if (!value) {
    console.error(`${name} is not set`);
    process.exit(2);
  }
  return value;
}

const load = createRequire(path.join(setting('CENTRIPETAL_BROWSER'), 'package.json'));
export const { chromium } = load('playwright-core');

/** The text of a file in a package. */
export function packaged(file) {
  return readFileSync(path.join(setting('CENTRIPETAL_BROWSER'), 'node_modules', file), 'utf8');
}

// ---- the browser ----------------------------------------------------------------------------

/** Flags that let nothing but the tested page use the network, and this one certificate pass. */
function flags() {
  const made = [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--no-proxy-server',
  ];
  if (process.env.BROWSER_CERTIFICATE) {
    const certificate = new X509Certificate(readFileSync(process.env.BROWSER_CERTIFICATE));
    const key = certificate.publicKey.export({ type: 'spki', format: 'der' });
    made.push(`--ignore-certificate-errors-spki-list=${createHash('sha256').update(key).digest('base64')}`);
  }
  return made;
}

/** Gives a context of a new Chromium, with a profile of its own, to `use`, and ends both. */
export async function withBrowser({ flags: more = [], ...options }, use) {
  const profile = mkdtempSync(path.join(tmpdir(), 'centripetal-browser-'));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: setting('CENTRIPETAL_CHROMIUM'),
    headless: true,
    args: [...flags(), ...more],
    viewport: { width: 1280, height: 800 },
    // Without a graphics processor every frame of an animation is work.
    reducedMotion: 'reduce',
    ...options,
  });
  context.setDefaultTimeout(PATIENCE);
  try {
    return await use(context);
  } finally {
    await context.close();
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** Where a picture goes; its path is printed, to be found after a run. */
export async function picture(page, name, options = {}) {
  const folder = setting('BROWSER_ARTEFACTS');
  mkdirSync(folder, { recursive: true });
  const file = path.join(folder, `${name}.png`);
  await page.screenshot({ path: file, animations: 'disabled', ...options });
  console.log(`picture: ${file}`);
}

// ---- the demo page --------------------------------------------------------------------------

/** A tab with the demo page in it. Reads what a person reads. */
export class Tab {
  constructor(page) {
    this.page = page;
    this.sockets = [];
    this.problems = [];
    page.on('websocket', (socket) => this.sockets.push(socket.url()));
    page.on('pageerror', (error) => this.problems.push(String(error)));
    page.on('console', (message) => {
      const security = /content security policy|mixed content/i.test(message.text());
      if (security) this.problems.push(message.text());
    });
  }

  static async open(context, url = setting('BROWSER_URL')) {
    const tab = new Tab(await context.newPage());
    await tab.page.goto(url);
    await tab.state('connected');
    await until('own presence', async () => (await tab.people()).some((name) => name.endsWith(' you')));
    return tab;
  }

  async state(wanted) {
    await this.page.locator(`#state[data-state="${wanted}"]`).waitFor();
  }

  async name() {
    return this.page.locator('#user').textContent();
  }

  /** The messages as they stand there, from the first to the last. */
  async messages() {
    return this.page.locator('#messages .message').evaluateAll((items) => items.map((item) => ({
      text: item.querySelector('.text').textContent,
      from: item.querySelector('.from').textContent,
      offset: Number(item.dataset.offset),
      latency: item.querySelector('.latency').textContent,
      badge: item.querySelector('.badge')?.textContent ?? '',
    })));
  }

  async texts() {
    return (await this.messages()).map((message) => message.text);
  }

  async people() {
    return this.page.locator('#presence li .who').allTextContents();
  }

  async traffic() {
    return this.page.locator('#traffic li').allTextContents();
  }

  /** Types a message and sends it with the key for it. */
  async say(text) {
    const field = this.page.locator('#text');
    await field.fill(text);
    await field.press('Enter');
    await until(`"${text}" is sent`, async () => (await field.inputValue()) === '');
  }
}

// ---- other processes ------------------------------------------------------------------------

/** Runs the executable under test to its end. */
export async function cli(...args) {
  const child = spawn(setting('BROWSER_CLI'), args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => { text += data; });
  const [code] = await once(child, 'close');
  check(code === 0, `centripetal ${args.join(' ')}: ${code}\n${text}`);
}

/** `centripetal sub --json`, running. */
export class Subscriber {
  constructor(url, channel) {
    const args = ['sub', channel, '--json', '--recover', '--url', url];
    this.child = spawn(setting('BROWSER_CLI'), args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.texts = [];
    this.log = '';
    this.child.stderr.on('data', (data) => { this.log += data; });
    readline.createInterface({ input: this.child.stdout }).on('line', (line) => {
      const { data } = JSON.parse(line);
      if (data) this.texts.push(data.text);
    });
    process.on('exit', () => this.child.kill('SIGKILL'));
  }

  async subscribed() {
    await until('the gRPC client has subscribed', () => this.log.includes('subscribed'));
  }

  async end() {
    this.child.kill('SIGINT');
    if (this.child.exitCode === null) await once(this.child, 'close');
  }
}

const answers = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Asks the test that runs this program to do something, and waits until it is done. */
export async function ask(what) {
  console.log(`do ${what}`);
  const { value, done } = await answers.next();
  check(!done && value === `done ${what}`, `the test did not ${what}: ${value}`);
}

// ---- checks ---------------------------------------------------------------------------------

let checks = 0;

export function check(holds, text) {
  checks += 1;
  if (!holds) throw new Error(text);
}

/** Compares as JSON. */
export function same(found, wanted, what) {
  const [left, right] = [found, wanted].map((value) => JSON.stringify(value, null, 1));
  check(left === right, `${what}:\n${left}\nwanted:\n${right}`);
}

/** Waits for a condition; says what it was waiting for, and what it last saw. */
export async function until(what, holds) {
  const end = Date.now() + PATIENCE;
  for (;;) {
    const held = await holds();
    if (held) {
      checks += 1;
      return held;
    }
    if (Date.now() > end) throw new Error(`waited in vain: ${what}`);
    await new Promise((resolve) => { setTimeout(resolve, 100); });
  }
}

/** Runs the program; the exit code and the last line say how it went. */
export async function main(run) {
  const limit = setTimeout(() => {
    console.error(`not done within ${TOTAL} ms`);
    process.exit(1);
  }, TOTAL);
  try {
    await run();
    console.log(`${checks} checks passed`);
    clearTimeout(limit);
    process.exit(0);
  } catch (error) {
    console.error(error);
    process.exit(1);
  }
}

// ---- everybody ------------------------------------------------------------------------------

/** A desk and a phone. */
export const SIZES = [{ width: 1280, height: 800 }, { width: 390, height: 844 }];

/** A page fits, and an accessibility checker finds nothing serious, in this colour scheme and size. Keeps a picture. */
export async function examined(page, name, colorScheme, size) {
  await page.emulateMedia({ colorScheme });
  await page.setViewportSize(size);
  const place = `${name} ${colorScheme} ${size.width}x${size.height}`;
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  check(wide <= 0, `${place}: ${wide} pixels too wide`);
  await page.evaluate(() => Promise.all(document.getAnimations().map((animation) => animation.finished.catch(() => {}))));
  // Through DevTools, because the page's policy admits no other script.
  await page.evaluate(`if (!window.axe) { ${packaged('axe-core/axe.min.js')} }`);
  const { violations, passes } = await page.evaluate(() => window.axe.run(document));
  check(passes.length > 15, `${place}: the checker looked at ${passes.length} rules`);
  const grave = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
  same(grave.map(({ id, nodes }) => [id, nodes.map((node) => node.html)]), [], place);
  await picture(page, `${name}-${colorScheme}-${size.width}`, { fullPage: true });
}
