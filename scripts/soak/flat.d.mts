export type Trend = {
  readonly thirds: readonly number[]
  readonly perHour: number
  readonly growth: number
  readonly rise: number
}
export function trendOf(series: readonly (readonly [seconds: number, value: number | null])[], seconds: number): Trend
export function judgeFlat(
  trend: Trend,
  bound: { readonly share: number; readonly least: number },
): { readonly allowed: number; readonly grown: number; readonly isFlat: boolean }
