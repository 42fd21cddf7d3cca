declare module 'workerd' {
  /** Where the workerd binary is. */
  const path: string
  export default path
}
