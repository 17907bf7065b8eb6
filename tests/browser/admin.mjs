// The operators' page: signing in, the numbers of a loaded node, a channel's people and history, publishing, disconnecting,
// and the page for everybody.
//
//   node admin.mjs          BROWSER_URL: the page; ADMIN_PASSWORD; two clients, ann and bob, are in the channel `news`
import { SIZES, check, examined, main, same, setting, until, withBrowser } from './support.mjs';

const text = (page, selector) => page.locator(selector).textContent();

async function signIn(page) {
  await page.goto(setting('BROWSER_URL'));
  await page.locator('#password').fill('guess');
  await page.locator('#password').press('Enter');
  await until('a wrong password is told', async () => (await text(page, '#sign-in-error')).startsWith('This is not'));
  for (const size of SIZES) await examined(page, 'admin-sign-in', 'light', size);
  await page.setViewportSize(SIZES[0]);
  await page.locator('#password').fill(setting('ADMIN_PASSWORD'));
  await page.locator('#password').press('Enter');
  await page.locator('#state[data-state="good"]').waitFor();
  same(await text(page, '#state-text'), '1 node', 'nodes');
}

async function overview(page) {
  const totals = () => page.locator('#totals dd').allTextContents();
  await until('two connections', async () => (await totals())[0] === '2');
  same((await totals()).slice(1), ['2', '1', '2', '1'], 'users, channels, subscriptions, nodes');
  const row = await page.locator('#nodes tr').first().locator('td').allTextContents();
  same(row.slice(2), ['2', '2', '1', '2'], 'numbers of the node');
  same(await page.locator('.chart canvas').count(), 3, 'charts');
  // A second point, so that there is a line.
  const points = () => page.evaluate(() => JSON.parse(sessionStorage.getItem('centripetal.points'))[0].length);
  await until('points over time', async () => (await points()) > 1);
}

async function channel(page) {
  await page.locator('nav a[href="#channels"]').click();
  await page.locator('#pattern').fill('nothing*');
  await page.locator('#pattern').press('Enter');
  await until('no such channel', async () => (await page.locator('#channels li').count()) === 0);
  await page.locator('#pattern').fill('');
  await page.locator('#pattern').press('Enter');
  await page.locator('#channels a', { hasText: 'news' }).click();
  const people = () => page.locator('#presence b').allTextContents();
  await until('presence', async () => (await people()).length === 2);
  same((await people()).sort(), ['ann', 'bob'], 'who is there');
  await page.locator('#data').fill('{"text": "from the page"}');
  await page.locator('#publish-form button').click();
  await until('published', async () => (await text(page, '#publish-outcome')) === 'Published as #1.');
  same(await page.locator('#history code').allTextContents(), ['{"text":"from the page"}'], 'history');
  await page.locator('#data').fill('{');
  await page.locator('#publish-form button').click();
  await until('no JSON', async () => (await text(page, '#publish-outcome')).startsWith('this is no JSON'));
  await page.locator('#history-remove').click();
  await until('history is gone', async () => (await page.locator('#history li').count()) === 0);
  await page.locator('#presence li', { hasText: 'bob' }).locator('button').click();
  await until('bob is gone', async () => JSON.stringify(await people()) === '["ann"]');
}

async function consoled(page) {
  await page.locator('nav a[href="#console"]').click();
  await page.locator('#method').selectOption('presence_stats');
  await page.locator('#params').fill('{"channel": "news"}');
  await page.locator('#console-form button').click();
  await page.locator('#answer').waitFor();
  same(JSON.parse(await text(page, '#answer')), { num_clients: 1, num_users: 1 }, 'answer');
  await page.locator('#params').fill('{"channel": "unknown:x"}');
  await page.locator('#console-form button').click();
  await until('an error is told', async () => (await text(page, '#console-outcome')) === '102: unknown channel');
}

async function clients(page) {
  await page.locator('nav a[href="#clients"]').click();
  await page.locator('#disconnect-user').fill('ann');
  await page.locator('#disconnect-user').press('Enter');
  await until('ann is gone', async () => (await text(page, '#disconnect-outcome')).startsWith('Disconnected'));
}

async function forEverybody(page) {
  for (const view of ['overview', 'channels/news', 'clients', 'console']) {
    await page.evaluate((hash) => { location.hash = hash; }, view);
    await page.locator(`#view-${view.split('/')[0]}`).waitFor();
    for (const colorScheme of ['light', 'dark']) {
      for (const size of SIZES) await examined(page, `admin-${view.split('/')[0]}`, colorScheme, size);
    }
  }
}

await main(() => withBrowser({}, async (context) => {
  const page = await context.newPage();
  const problems = [];
  page.on('pageerror', (error) => problems.push(String(error)));
  page.on('console', (message) => {
    if (/content security policy/i.test(message.text())) problems.push(message.text());
  });
  await signIn(page);
  await overview(page);
  await channel(page);
  await consoled(page);
  await forEverybody(page);
  await clients(page);
  await page.locator('#leave').click();
  await page.locator('#sign-in').waitFor();
  check(await page.evaluate(() => sessionStorage.getItem('centripetal.admin') === null), 'the session is forgotten');
  await page.reload();
  await page.locator('#sign-in').waitFor();
  same(problems, [], 'errors of the page');
}));
