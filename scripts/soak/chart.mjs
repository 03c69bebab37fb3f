// One SVG of small multiples: a panel for each figure over the same time. No dependency and no script; colours that read on
// white and on black, chosen by the viewer's preference where it is known.

const [width, columns, panelHeight, head] = [900, 2, 196, 64]
const panelWidth = width / columns
/** Around the plot of a panel: for its title, its numbers and the minutes. */
const inset = { left: 54, right: 14, top: 44, bottom: 34 }
const colourCount = 5
/** More do not fit into a line. */
const mostLabels = 6

const style = `<style>
  text { font: 11px system-ui, sans-serif; fill: #343a40 }
  .title { font-size: 15px; font-weight: 600 } .panel { font-size: 12px; font-weight: 600 }
  .faint { fill: #6c757d } .axis { stroke: #adb5bd } .grid { stroke: #adb5bd; opacity: 0.35 }
  .mark { stroke: #868e96; stroke-dasharray: 2 3; opacity: 0.7 }
  polyline { fill: none; stroke-width: 1.6; stroke-linejoin: round } .thin { stroke-width: 1; opacity: 0.6 }
  .l0 { stroke: #d9480f } .l1 { stroke: #1c7ed6 } .l2 { stroke: #2b8a3e } .l3 { stroke: #9c36b5 } .l4 { stroke: #868e96 }
  .t0 { fill: #d9480f } .t1 { fill: #1c7ed6 } .t2 { fill: #2b8a3e } .t3 { fill: #9c36b5 } .t4 { fill: #6c757d }
  @media (prefers-color-scheme: dark) {
    text { fill: #dee2e6 } .faint { fill: #adb5bd } .axis { stroke: #6c757d } .grid { stroke: #6c757d }
    .l0 { stroke: #ff8c5a } .l1 { stroke: #4dabf7 } .l2 { stroke: #69db7c } .l3 { stroke: #da77f2 } .l4 { stroke: #adb5bd }
    .t0 { fill: #ff8c5a } .t1 { fill: #4dabf7 } .t2 { fill: #69db7c } .t3 { fill: #da77f2 } .t4 { fill: #adb5bd }
  }
</style>`

/**
 * Draws the panels. A line is a label and points in seconds; null breaks it. `marks` are seconds at which a line goes down
 * through every panel.
 * @param {{ title: string, caption: string, seconds: number, marks?: readonly number[], panels: readonly {
 *   title: string, unit: string, isLogarithmic?: boolean,
 *   lines: readonly { label: string, isFaint?: boolean, points: readonly (readonly [number, number | null])[] }[] }[] }} picture
 */
export function draw({ title, caption, seconds, marks = [], panels }) {
  const height = head + Math.ceil(panels.length / columns) * panelHeight
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">`,
    `<title>${inXml(title)}</title>`,
    style,
    `<text class="title" x="10" y="22">${inXml(title)}</text>`,
    `<text class="faint" x="10" y="40">${inXml(caption)}</text>`,
    ...panels.map((panel, at) => {
      const [x, y] = [(at % columns) * panelWidth, head + Math.floor(at / columns) * panelHeight]
      return `<g transform="translate(${x} ${y})">\n${drawPanel(panel, { seconds, marks })}\n</g>`
    }),
    '</svg>\n',
  ].join('\n')
}

// --- internal ---

function drawPanel({ title, unit, lines, isLogarithmic = false }, { seconds, marks }) {
  const { left, top } = inset
  const [right, bottom] = [panelWidth - inset.right, panelHeight - inset.bottom]
  const values = lines.flatMap(({ points }) => points.map(([, value]) => value)).filter((value) => isDrawable(value))
  const ticks = isLogarithmic ? powersOfTen(values) : steps(values)
  const scale = isLogarithmic ? (value) => Math.log10(Math.max(value, ticks[0])) : (value) => value
  const [low, high] = [scale(ticks[0]), scale(ticks.at(-1))]
  const x = (at) => round(left + (at / seconds) * (right - left))
  const y = (value) => round(bottom - ((scale(value) - low) / (high - low)) * (bottom - top))
  const grid = ticks.map(
    (tick) =>
      `<line class="grid" x1="${left}" x2="${right}" y1="${y(tick)}" y2="${y(tick)}"/><text class="faint" x="${left - 6}" y="${y(tick) + 4}" text-anchor="end">${number(tick)}</text>`,
  )
  const minutes = minuteTicks(seconds / 60).map(
    (minute) =>
      `<text class="faint" x="${x(minute * 60)}" y="${bottom + 15}" text-anchor="middle">${number(minute)}</text>`,
  )
  const drawn = lines.map((line, at) => ({ ...line, colour: Math.min(at, colourCount - 1) }))
  const curves = drawn.flatMap(({ points, colour, isFaint }) =>
    pieces(points).map((piece) => {
      const path = piece.map(([at, value]) => `${x(at)},${y(value)}`).join(' ')
      return `<polyline class="l${colour}${isFaint ? ' thin' : ''}" points="${path}"/>`
    }),
  )
  const more = drawn.length > mostLabels ? [{ label: '…', colour: colourCount - 1 }] : []
  const legend = [...drawn.slice(0, mostLabels), ...more].map(
    ({ label, colour }) => `<tspan class="t${colour}">${inXml(label)}</tspan>`,
  )
  return [
    `<text class="panel" x="10" y="12">${inXml(title)}<tspan class="faint" font-weight="400" dx="6">${inXml(unit)}</tspan></text>`,
    `<text x="10" y="29">${legend.join('<tspan dx="8"> </tspan>')}</text>`,
    ...grid,
    ...marks.map((at) => `<line class="mark" x1="${x(at)}" x2="${x(at)}" y1="${top}" y2="${bottom}"/>`),
    `<line class="axis" x1="${left}" x2="${right}" y1="${bottom}" y2="${bottom}"/>`,
    ...minutes,
    `<text class="faint" x="${right}" y="${bottom + 28}" text-anchor="end">minutes</text>`,
    ...curves,
  ].join('\n')
}

function isDrawable(value) {
  return value !== null && Number.isFinite(value)
}

/** A line without its gaps. */
function pieces(points) {
  const found = [[]]
  for (const point of points) {
    if (isDrawable(point[1])) found.at(-1).push(point)
    else if (found.at(-1).length > 0) found.push([])
  }
  return found.filter((piece) => piece.length > 0)
}

/** From 0 to above the highest value, in about four steps of 1, 2 or 5 of a power of ten. */
function steps(values) {
  const most = Math.max(...values, 0) || 1
  const step = roundStep(most / 4)
  return Array.from({ length: Math.ceil(most / step - 1e-9) + 1 }, (_, i) => Number((i * step).toPrecision(12)))
}

function powersOfTen(values) {
  const known = values.filter((value) => value > 0)
  const [low, high] = known.length === 0 ? [1, 10] : [Math.min(...known), Math.max(...known)]
  const first = Math.floor(Math.log10(low))
  const last = Math.max(first + 1, Math.ceil(Math.log10(high)))
  return Array.from({ length: last - first + 1 }, (_, i) => 10 ** (first + i))
}

function minuteTicks(minutes) {
  const step = roundStep(minutes / 6)
  return Array.from({ length: Math.floor(minutes / step + 1e-9) + 1 }, (_, i) => Number((i * step).toPrecision(12)))
}

function roundStep(least) {
  const power = 10 ** Math.floor(Math.log10(least))
  return power * ([1, 2, 5].find((one) => one * power >= least * 0.999) ?? 10)
}

function number(value) {
  return value.toLocaleString('en', { maximumSignificantDigits: 6 })
}

function round(value) {
  return Math.round(value * 10) / 10
}

function inXml(raw) {
  return raw.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
}
