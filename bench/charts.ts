/** Renders the results as SVG charts for the README. */
import { BarChart, LineChart } from "echarts/charts";
import { GridComponent, LegendComponent, TitleComponent } from "echarts/components";
import { type EChartsCoreOption, init, use } from "echarts/core";
import { SVGRenderer } from "echarts/renderers";
import type { Comparison } from "./measure.ts";

use([BarChart, LineChart, GridComponent, LegendComponent, TitleComponent, SVGRenderer]);

type Comparisons = ReadonlyMap<string, Comparison>;

/** Distinguishable with red-green colour blindness. */
const colours: Readonly<Record<string, string>> = {
  "C with liburing": "#555555",
  RawRing: "#0072b2",
  Ring: "#56b4e9",
  "node:fs/promises": "#e69f00",
  "Bun.file": "#d55e00",
  fio: "#999999",
  register: "#e69f00",
  clone: "#0072b2",
};

function render(option: EChartsCoreOption, width: number, height: number): string {
  const chart = init(null, null, { renderer: "svg", ssr: true, width, height });
  chart.setOption({ backgroundColor: "#ffffff", animation: false, textStyle: { fontFamily: "sans-serif" }, ...option });
  const svg = chart.renderToSVGString();
  chart.dispose();
  return svg;
}

const titleOf = (text: string, subtext: string) => ({ text, subtext, left: "center", textStyle: { fontSize: 16 } });

/** Thousands of reads per second, by queue depth. */
function readsChart(comparisons: Comparisons, cache: "cached" | "direct", subtitle: string): string | undefined {
  const depths = [1, 64].filter((depth) => comparisons.has(`random-read-${cache}-${depth}`));
  const names = ["C with liburing", "RawRing", "Ring", "fio", "node:fs/promises", "Bun.file"];
  const figureOf = (name: string, depth: number) => {
    const wallNs = comparisons.get(`random-read-${cache}-${depth}`)?.contenders[name]?.wallNs.median;
    return wallNs === undefined ? undefined : Math.round(1e6 / wallNs);
  };
  const shown = names.filter((name) => depths.some((depth) => figureOf(name, depth) !== undefined));
  if (depths.length === 0) return undefined;
  return render(
    {
      title: titleOf(
        `4 KiB random reads, ${cache === "direct" ? "O_DIRECT" : "page cache"}, thousands per second`,
        subtitle,
      ),
      legend: { top: 60, itemGap: 32, data: shown },
      grid: { top: 100, left: 60, right: 20, bottom: 50 },
      xAxis: { type: "category", name: "queue depth", nameLocation: "middle", nameGap: 30, data: depths.map(String) },
      yAxis: { type: "value" },
      series: shown.map((name) => ({
        name,
        type: "bar",
        itemStyle: { color: colours[name] },
        label: { show: true, position: "top", fontSize: 9 },
        data: depths.map((depth) => figureOf(name, depth) ?? null),
      })),
    },
    900,
    460,
  );
}

/** Time for a ring to obtain a pool's memory, by pool size. */
function joinChart(comparisons: Comparisons, subtitle: string): string | undefined {
  const sizes = [1, 64, 1024, 4096];
  const figureOf = (slots: number, pages: string, name: string) =>
    comparisons.get(`join-${slots}x${2 ** 20}-${pages}`)?.contenders[name]?.wallNs.median;
  const lines = [
    { name: "register, small pages", pages: "small", way: "register", colour: "#d55e00" },
    { name: "register, huge pages", pages: "huge", way: "register", colour: "#e69f00" },
    { name: "clone", pages: "huge", way: "clone", colour: "#0072b2" },
  ];
  if (sizes.every((slots) => figureOf(slots, "huge", "clone") === undefined)) return undefined;
  return render(
    {
      title: titleOf("Time for a ring to obtain a pool's memory, µs", subtitle),
      legend: { top: 60, itemGap: 32 },
      grid: { top: 100, left: 80, right: 40, bottom: 50 },
      xAxis: { type: "category", name: "pool size, MiB", nameLocation: "middle", nameGap: 30, data: sizes.map(String) },
      yAxis: { type: "log", axisLabel: { formatter: (value: number) => value.toLocaleString("en") } },
      series: lines.map(({ name, pages, way, colour }) => ({
        name,
        type: "line",
        symbolSize: 8,
        connectNulls: true,
        itemStyle: { color: colour },
        lineStyle: { color: colour, width: 2 },
        label: {
          show: true,
          position: "top",
          fontSize: 10,
          formatter: ({ value }: { value: number }) => (value >= 100 ? value.toFixed(0) : value.toPrecision(2)),
        },
        data: sizes.map((slots) => {
          const ns = figureOf(slots, pages, way);
          return ns === undefined ? null : ns / 1000;
        }),
      })),
    },
    900,
    420,
  );
}

/** Returns SVG documents by file name. */
export function chartsOf(comparisons: Comparisons, subtitle: string): Map<string, string> {
  const charts = new Map<string, string>();
  const add = (name: string, svg: string | undefined) => {
    if (svg !== undefined) charts.set(name, svg);
  };
  add("reads-page-cache.svg", readsChart(comparisons, "cached", subtitle));
  add("reads-o-direct.svg", readsChart(comparisons, "direct", subtitle));
  add("join.svg", joinChart(comparisons, subtitle));
  return charts;
}
