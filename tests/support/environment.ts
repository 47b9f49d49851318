/** Tests decide their own home, interpreter and log level, whatever the machine's user has set. */
for (const name of ["EXECUTE_CODE_HOME", "EXECUTE_CODE_LOG", "EXECUTE_CODE_PYTHON", "EXECUTE_CODE_WARM"]) {
  delete process.env[name];
}
