export type Line = {
  readonly label: string
  readonly isFaint?: boolean
  readonly points: readonly (readonly [seconds: number, value: number | null])[]
}
export type Panel = {
  readonly title: string
  readonly unit: string
  readonly isLogarithmic?: boolean
  readonly lines: readonly Line[]
}
export function draw(picture: {
  readonly title: string
  readonly caption: string
  readonly seconds: number
  readonly marks?: readonly number[]
  readonly panels: readonly Panel[]
}): string
