// One SVG for each scenario: bars with their figures and the spread of the rounds, grouped by variant; or lines over time.
// No dependency, no script; colours that read on white and on black, chosen by the viewer's preference where it is known.
import { text } from './markdown.mjs'
import { metrics } from './metrics.mjs'

const width = 860
const barHeight = 16
const rowHeight = 22
const left = 150
const right = 110
const colours = ['#d9480f', '#1c7ed6', '#2b8a3e', '#9c36b5', '#a68a00', '#0b7285', '#868e96']

const style = `<style>
  text { font: 12px system-ui, sans-serif; fill: #343a40 }
  .title { font-size: 15px; font-weight: 600 }
  .variant { font-weight: 600 }
  .axis { stroke: #adb5bd; stroke-width: 1 }
  .spread { stroke: #343a40; stroke-width: 1 }
  .own { fill: #d9480f } .floor { fill: #868e96 } .peer { fill: #1c7ed6 }
  .faint { fill: #6c757d }
  @media (prefers-color-scheme: dark) {
    text { fill: #dee2e6 } .faint { fill: #adb5bd } .axis { stroke: #6c757d } .spread { stroke: #dee2e6 }
    .own { fill: #ff8c5a } .floor { fill: #909aa3 } .peer { fill: #4dabf7 }
  }
</style>`

/** @param {import('./rounds.mjs').Measured} measured */
export function svgOf(measured) {
  const isLines = measured.rows.some((row) => row.findings.some((finding) => finding.series))
  return isLines ? lines(measured) : bars(measured)
}

// --- internal ---

/** @param {import('./rounds.mjs').Measured} measured */
function bars({ title, metrics: [name = ''], rows }) {
  const { label = name, unit = '', better, digits } = metrics[name] ?? {}
  const variants = [...new Set(rows.map((row) => row.variant))]
  const values = rows.map((row) => row.figures[name]).filter((figure) => figure && Number.isFinite(figure.median))
  const most = Math.max(...values.map((figure) => figure?.max ?? 0), Number.MIN_VALUE)
  const scale = (width - left - right) / most
  const parts = []
  let y = 58
  for (const variant of variants) {
    parts.push(`<text class="variant" x="8" y="${y}">${inXml(variant)}</text>`)
    y += 8
    const top = y
    for (const row of rows.filter((one) => one.variant === variant)) {
      const figure = row.figures[name]
      const isKnown = figure && Number.isFinite(figure.median)
      const middle = y + rowHeight / 2
      parts.push(`<text x="${left - 8}" y="${middle + 4}" text-anchor="end">${inXml(row.system)}</text>`)
      if (!isKnown) {
        parts.push(`<text class="faint" x="${left + 4}" y="${middle + 4}">no figure</text>`)
      } else {
        const length = Math.max(figure.median * scale, 1)
        parts.push(
          `<rect class="${row.kind}" x="${left}" y="${middle - barHeight / 2}" width="${round(length)}" height="${barHeight}" rx="2"/>`,
        )
        if (figure.max > figure.min)
          parts.push(
            `<line class="spread" x1="${round(left + figure.min * scale)}" x2="${round(left + figure.max * scale)}" y1="${middle}" y2="${middle}"/>`,
          )
        const end = left + Math.max(figure.max * scale, length) + 6
        parts.push(`<text x="${round(end)}" y="${middle + 4}">${text(figure.median, digits)}</text>`)
      }
      y += rowHeight
    }
    parts.push(`<line class="axis" x1="${left}" x2="${left}" y1="${top}" y2="${y}"/>`)
    y += 24
  }
  const way = better === 'lower' ? 'less is better' : better === 'higher' ? 'more is better' : ''
  const caption = `${label}${unit && unit !== '/s' ? ` (${unit})` : ''}, ${way}; median, with the line from lowest to highest round`
  return frame(title, caption, y - 8, parts)
}

/** @param {import('./rounds.mjs').Measured} measured */
function lines({ title, chart, rows }) {
  const height = 380
  const [top, bottom] = [62, height - 44]
  const drawn = rows.map((row) => ({ row, points: row.findings.at(-1)?.series ?? [] }))
  const all = drawn.flatMap(({ points }) => points)
  const [mostX, mostY] = [0, 1].map((i) => Math.max(...all.map((point) => point[i] ?? 0), 1))
  const x = (/** @type {number} */ value) => 60 + (value / Number(mostX)) * (width - 60 - 150)
  const y = (/** @type {number} */ value) => bottom - (value / (Number(mostY) * 1.1)) * (bottom - top)
  const step = roundStep(Number(mostY) / 4)
  const grid = Array.from({ length: Math.floor(Number(mostY) / step) + 1 }, (_, i) => i * step).map((value) =>
    [
      `<line class="axis" opacity="0.4" x1="60" x2="${width - 150}" y1="${round(y(value))}" y2="${round(y(value))}"/>`,
      `<text class="faint" x="52" y="${round(y(value)) + 4}" text-anchor="end">${text(value)}</text>`,
    ].join(''),
  )
  let lastLabel = Number.NEGATIVE_INFINITY
  const curves = drawn
    .toSorted((a, b) => (b.points.at(-1)?.[1] ?? 0) - (a.points.at(-1)?.[1] ?? 0))
    .map(({ row, points }, i) => {
      const colour = colours[i % colours.length]
      const path = points.map(([px, py]) => `${round(x(px))},${round(y(py))}`).join(' ')
      const [endX = 0, endY = 0] = points.at(-1) ?? []
      // Labels of lines that end close together go below each other.
      lastLabel = Math.max(y(endY) + 4, lastLabel + 15)
      return `<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"/><text x="${round(x(endX)) + 8}" y="${round(lastLabel)}" style="fill:${colour}">${inXml(row.system)}</text>`
    })
  const ends = `<text class="faint" x="60" y="${bottom + 20}">0</text><text class="faint" x="${width - 150}" y="${bottom + 20}" text-anchor="end">${text(Number(mostX))}</text>`
  const axes = chart && 'x' in chart ? `${chart.y} by ${chart.x}, last round` : ''
  return frame(title, axes, height, [...grid, ends, ...curves])
}

/** @param {string} title @param {string} caption @param {number} height @param {readonly string[]} parts */
function frame(title, caption, height, parts) {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">`,
    `<title>${inXml(title)}</title>`,
    style,
    `<text class="title" x="8" y="20">${inXml(title)}</text>`,
    `<text class="faint" x="8" y="38">${inXml(caption)}</text>`,
    ...parts,
    '</svg>\n',
  ].join('\n')
}

/** A step for an axis: 1, 2 or 5 of a power of ten. @param {number} least */
function roundStep(least) {
  const power = 10 ** Math.floor(Math.log10(least))
  return power * ([1, 2, 5].find((one) => one * power >= least) ?? 10)
}

/** @param {number} value */
function round(value) {
  return Math.round(value * 10) / 10
}

/** @param {string} raw */
function inXml(raw) {
  return raw.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
}
