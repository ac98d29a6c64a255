#!/usr/bin/env node
process.stdout.write('ringmain\n');
