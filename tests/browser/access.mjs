// The demo page for everybody: with an accessibility checker in both colour schemes and two sizes, by keyboard alone, and
// without motion.
import {
  SIZES, Tab, check, examined, main, picture, same, until, withBrowser,
} from './support.mjs';


/** Everything the page has to show is there: messages of all kinds, people, frames. */
async function filled(context) {
  const other = await Tab.open(context);
  await other.say('hello from the other tab');
  const tab = await Tab.open(context);
  await tab.page.locator('#history').click();
  await until('history', async () => (await tab.texts()).length === 1);
  await tab.say('hello');
  await tab.page.locator('#cut').click();
  await tab.state('connecting');
  await other.say('while you were away');
  await tab.state('connected');
  await until('recovered', async () => (await tab.texts()).length === 3);
  return tab;
}

async function examine(tab, colorScheme, size) {
  await tab.page.locator('#raw-details').evaluate((details) => { details.open = true; });
  await examined(tab.page, 'page', colorScheme, size);
}

/** Walks with the Tab key; every stop is visible, has a ring and a name. */
async function stops(page) {
  const names = [];
  for (let count = 0; count < 60; count += 1) {
    await page.keyboard.press('Tab');
    const stop = await page.evaluate(() => {
      const element = document.activeElement;
      if (element === document.body) return null;
      const style = getComputedStyle(element);
      const box = element.getBoundingClientRect();
      const label = element.labels?.[0]?.textContent ?? element.getAttribute('aria-label');
      return {
        name: element.id || (label || element.textContent).trim(),
        ring: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2,
        shown: box.width > 0 && box.height > 0 && box.right > 0 && box.bottom > 0,
      };
    });
    if (!stop) break;
    check(stop.ring && stop.shown, `no visible focus: ${JSON.stringify(stop)}`);
    if (stop.name === names[0]) break;
    names.push(stop.name);
  }
  return names;
}

async function byKeyboard(context) {
  const tab = await Tab.open(context);
  const { page } = tab;
  await page.locator('#history').click();
  await until('history', async () => (await tab.texts()).length > 0);
  await page.evaluate(() => { document.activeElement.blur(); scrollTo(0, 0); });
  await page.locator('body').evaluate((body) => { body.tabIndex = -1; body.focus(); body.removeAttribute('tabindex'); });
  const order = await stops(page);
  const wanted = [
    'Skip to messages', 'way', 'channel', 'Switch', 'log', 'text', 'Publish', 'history', 'clear', 'cut', 'robot',
  ];
  same(order.slice(0, wanted.length), wanted, 'order of the stops');
  for (const name of ['presence', 'raw-pings', 'raw-pause', 'raw-clear', 'raw', 'Licence of the SDK', 'Licence of SockJS']) {
    check(order.includes(name), `${name} cannot be reached: ${order}`);
  }
  check(order.filter((name) => name.startsWith('Copy: ')).length === 2, `both commands can be copied: ${order}`);

  // Another channel, a message, the robot: without a mouse.
  await page.locator('#channel').focus();
  await page.keyboard.press('Control+A');
  await page.keyboard.type('keys');
  await page.keyboard.press('Enter');
  await until('the channel is another', async () => (await tab.texts()).length === 0);
  await page.locator('#text').focus();
  await page.keyboard.type('typed');
  await page.keyboard.press('Enter');
  await until('it is there', async () => (await tab.texts()).includes('typed'));
  const focused = await page.evaluate(() => document.activeElement.id);
  same(focused, 'text', 'the next message can be typed at once');
  await page.locator('#robot').focus();
  await page.keyboard.press('Space');
  await until('the robot talks', async () => (await tab.texts()).some((text) => text.startsWith('tick')));
  same(await page.locator('#log').getAttribute('aria-live'), 'off', 'the robot is not read aloud');
  await page.keyboard.press('Space');
  same(await page.locator('#robot').getAttribute('aria-pressed'), 'false', 'the robot is off');
  same(await page.locator('#log').getAttribute('aria-live'), 'polite', 'people are read aloud');
  same(tab.problems, [], 'errors of the page');
}

async function withoutMotion(tab) {
  await tab.page.emulateMedia({ reducedMotion: 'no-preference' });
  await tab.say('this one moves');
  const moving = () => tab.page.locator('.message').last().evaluate((item) => getComputedStyle(item).animationName);
  same(await moving(), 'arrive', 'a new message is lit up');
  await tab.page.emulateMedia({ reducedMotion: 'reduce' });
  same(await moving(), 'none', 'but not for who wants no motion');
}

await main(() => withBrowser({}, async (context) => {
  const tab = await filled(context);
  for (const scheme of ['light', 'dark']) {
    for (const size of SIZES) await examine(tab, scheme, size);
  }
  await withoutMotion(tab);
  await byKeyboard(context);
}));
