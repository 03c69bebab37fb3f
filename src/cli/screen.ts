/**
 * What a running command shows. On a terminal the last frame is drawn over the one before; elsewhere (a file, a pipe,
 * a log) only lines are written, so that nothing has to be undone.
 */

/** Wraps a text in the codes of a style; without colours, gives it back as it is. */
export type Paint = Readonly<Record<'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan', (text: string) => string>>

export type Screen = {
  /** Whether frames are drawn over each other. */
  readonly isLive: boolean
  readonly paint: Paint
  /** Draws over the last frame. Only where the screen is live. */
  frame(lines: readonly string[]): void
  /** Writes lines that stay: below the last frame, which stays as well. */
  print(text: string): void
}

export type ScreenStream = {
  readonly isTTY?: boolean
  write(text: string): unknown
}

/** Colours only on a terminal, and not where `NO_COLOR` is set (https://no-color.org). */
export function createScreen(stream: ScreenStream = process.stdout): Screen {
  const isLive = stream.isTTY === true && process.env['TERM'] !== 'dumb'
  const paint = createPaint(isLive && !process.env['NO_COLOR'])
  let height = 0
  return {
    isLive,
    paint,
    frame(lines) {
      if (!isLive) return
      const back = height > 0 ? `\x1b[${height}A` : ''
      // Without wrapping (?7l), a terminal narrower than the frame cuts the lines and the next frame still fits.
      stream.write(`${back}\x1b[?7l${lines.map((line) => `${line}\x1b[K\n`).join('')}\x1b[J\x1b[?7h`)
      height = lines.length
    },
    print(text) {
      height = 0
      stream.write(`${text}\n`)
    },
  }
}

// --- internal ---

function createPaint(hasColours: boolean): Paint {
  const style = (on: number, off: number) => (text: string) => (hasColours ? `\x1b[${on}m${text}\x1b[${off}m` : text)
  return {
    bold: style(1, 22),
    dim: style(2, 22),
    red: style(31, 39),
    green: style(32, 39),
    yellow: style(33, 39),
    cyan: style(36, 39),
  }
}
