// Lines over time, drawn by uPlot. Knows nothing of the server: it is given points.
"use strict";

const charts = (() => {
  const HOUR = 3600;

  /** The value of a colour of the style sheet. */
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

  const clock = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
  const times = (seconds) => seconds.map((second) => clock.format(second * 1000));

  /** A chart with lines of these names in an element; `draw` takes [times, values of the first line, ...]. */
  function chart(element, names) {
    let plot = null;
    let last = null;

    function options() {
      const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
      const lines = ["--accent", "--good", "--warn", "--bad"];
      return {
        width: Math.max(element.clientWidth, 120),
        height: 180,
        cursor: { y: false },
        scales: { y: { range: (_, __, top) => [0, Math.max(1, top * 1.1)] } },
        axes: [{ ...axis, space: 90, values: (_, seconds) => times(seconds) }, { ...axis, size: 44, values: (_, values) => values.map((value) => short.format(value)) }],
        series: [
          {},
          ...names.map((label, index) => ({
            label,
            stroke: colour(lines[index]),
            width: 2,
            points: { show: false },
            value: (_, value) => (value === null || value === undefined ? "–" : short.format(value)),
          })),
        ],
      };
    }

    /** Colours and width are the plot's for good, so it is made anew when they change. */
    function remake() {
      plot?.destroy();
      plot = null;
      if (last !== null) {
        draw(last);
      }
    }

    function draw(columns) {
      last = columns;
      if (element.clientWidth === 0) {
        return;
      }
      if (plot === null) {
        plot = new uPlot(options(), columns, element);
      } else {
        plot.setData(columns);
      }
    }

    new ResizeObserver(() => {
      const width = element.clientWidth;
      if (width > 0 && plot === null) {
        remake();
      } else if (width > 0 && plot.width !== width) {
        plot.setSize({ width, height: 180 });
      }
    }).observe(element);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", remake);
    return { draw };
  }

  /** Points of the last hour, kept over reloads of the page, as columns. */
  function series(key, width) {
    let columns = Array.from({ length: width + 1 }, () => []);
    try {
      const kept = JSON.parse(sessionStorage.getItem(key));
      if (Array.isArray(kept) && kept.length === width + 1) {
        columns = kept;
      }
    } catch {
      // What was kept is not ours; begin anew.
    }
    return {
      columns: () => columns,
      add(time, values) {
        const old = columns[0].findIndex((at) => at > time - HOUR);
        [time, ...values].forEach((value, index) => {
          columns[index].splice(0, Math.max(old, 0));
          columns[index].push(value);
        });
        sessionStorage.setItem(key, JSON.stringify(columns));
      },
    };
  }

  return { chart, series };
})();
