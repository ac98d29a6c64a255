module ringmain/bench/tlschurn

go 1.19
