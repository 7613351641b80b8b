package main
import ("testing";"fmt";"time";"os";"sort")
func TestTry(t *testing.T){
	seed0:=uint64(1)
	fmt.Sscan(os.Getenv("SEED0"),&seed0)
	only:=os.Getenv("ADV")
	start:=time.Now()
	rows:=map[string][]string{}
	for _,pw:=range poisonWorlds{ if only!=""&&only!=pw.adversary {continue}
		for s:=range pw.seeds{
			var out [ways][]poisonResult
			if err:=(&report{}).runPoison(t.Context(),pw.adversary,pw.size,seed0+uint64(s),&out);err!=nil{fmt.Println(pw.adversary,s,err);continue}
			for way:=range out{ if only:=os.Getenv("WAY");only!=""&&only!=fmt.Sprint(way){continue};  for _,x:=range out[way]{
				k:=fmt.Sprintf("%-10s %-12s %-70s",pw.adversary,x.kind,x.note)
				st:="no"; if x.wentOn {st="on"}; if x.found {st=x.by}
				rows[k]=append(rows[k],fmt.Sprintf("   w%d s%d %-16s after %8.0f named %d/%d before %5d/%5d reached %.1f",way,s,st,x.after,x.named,x.agents,x.before,x.events,x.reached))
			}}
		}
		fmt.Println(pw.adversary,time.Since(start))
	}
	var ks []string; for k:=range rows{ks=append(ks,k)}; sort.Strings(ks)
	for _,k:=range ks{fmt.Println(k); sort.Strings(rows[k]); for _,l:=range rows[k]{fmt.Println(l)}}
}
