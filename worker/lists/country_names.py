"""The names of countries in the languages that we ship (de, en, es, fr, lt), as exports of other systems have them.

From the Common Locale Data Repository of Unicode (LICENSE.unicode), with names that people still use, those of ISO 3166
and German ones without umlauts. As `_compared` writes them: small letters without accents, _ between words.
"""

import re

from worker.lists.other_names import without_accents

NAMES = """
AD andorra andorre andora
AE united_arab_emirates vereinigte_arabische_emirate emirats_arabes_unis emiratos_arabes_unidos
   jungtiniai_arabu_emyratai uae u_a_e vae eau emirates
AF afghanistan afganistan afganistanas
AG antigua_barbuda antigva_barbuda antigua
AI anguilla anguila angilija
AL albania albanien albanie albanija
AM armenia armenien armenie armenija
AO angola
AQ antarctica antarktis antarctique antartida antarktida
AR argentina argentinien argentine
AS american_samoa amerikanisch_samoa samoa_americaines samoa_americana amerikos_samoa
AT austria osterreich oesterreich autriche austrija republik_osterreich republik_oesterreich
AU australia australien australie australija
AW aruba
AX aland_islands alandinseln iles_aland islas_aland alandu_salos
AZ azerbaijan aserbaidschan azerbaidjan azerbaiyan azerbaidzanas
BA bosnia_herzegovina bosnien_herzegowina bosnie_herzegovine bosnija_hercegovina bosnia bosnien bosna
BB barbados barbade barbadosas
BD bangladesh bangladesch banglades bangladesas
BE belgium belgien belgique belgica belgija
BF burkina_faso burkina_fasas
BG bulgaria bulgarien bulgarie bulgarija
BH bahrain bahrein barein bahreinas
BI burundi burundis
BJ benin beninas
BL st_barthelemy saint_barthelemy san_bartolome sen_bartelemi
BM bermuda bermudes bermudas
BN brunei brunei_darussalam brunejus
BO bolivia bolivien bolivie bolivija bolivia_plurinational_state_of plurinational_state_of_bolivia
BQ caribbean_netherlands karibische_niederlande pays_bas_caribeens caribe_neerlandes karibu_nyderlandai
   bonaire_sint_eustatius_saba
BR brazil brasilien bresil brasil brazilija
BS bahamas bahamos
BT bhutan bhoutan butan butanas
BV bouvet_island bouvetinsel ile_bouvet isla_bouvet buve_sala
BW botswana botsuana botsvana
BY belarus bielorussie bielorrusia baltarusija weissrussland
BZ belize belice belizas
CA canada kanada
CC cocos_keeling_islands cocos_islands kokosinseln iles_cocos islas_cocos kokosu_kilingo_salos kokosu_salos
   keeling_islands
CD congo_kinshasa kongo_kinshasa republica_democratica_del_congo kongas_kinsasa congo_democratic_republic_of
   democratic_republic_of_congo demokratische_republik_kongo republique_democratique_du_congo dr_congo
   kongo_demokratine_respublika
CF central_african_republic zentralafrikanische_republik republique_centrafricaine republica_centroafricana
   centrines_afrikos_respublika
CG congo_brazzaville kongo_brazzaville congo kongas_brazavilis republic_of_congo republik_kongo
CH switzerland schweiz suisse suiza sveicarija schweizerische_eidgenossenschaft
CI cote_d_ivoire dramblio_kaulo_krantas ivory_coast elfenbeinkuste elfenbeinkueste costa_de_marfil
CK cook_islands cookinseln iles_cook islas_cook kuko_salos
CL chile chili cile
CM cameroon kamerun cameroun camerun kamerunas
CN china chine kinija people_s_republic_of_china volksrepublik_china china_people_s_republic_of
CO colombia kolumbien colombie kolumbija
CR costa_rica kosta_rika
CU cuba kuba
CV cape_verde cabo_verde cap_vert zaliasis_kysulys kap_verde
CW curacao curazao kiurasao
CX christmas_island weihnachtsinsel ile_christmas isla_de_navidad kaledu_sala
CY cyprus zypern chypre chipre kipras
CZ czechia tschechien tchequie chequia cekija czech_republic tschechische_republik republica_checa republique_tcheque
   cekijos_respublika
DE germany deutschland allemagne alemania vokietija federal_republic_of_germany bundesrepublik_deutschland brd
DJ djibouti dschibuti yibuti dzibutis
DK denmark danemark daenemark dinamarca danija
DM dominica dominique dominika
DO dominican_republic dominikanische_republik republique_dominicaine republica_dominicana dominikos_respublika
DZ algeria algerien algerie argelia alzyras
EC ecuador equateur ekvadoras
EE estonia estland estonie estija
EG egypt agypten aegypten egypte egipto egiptas
EH western_sahara westsahara sahara_occidental vakaru_sachara
ER eritrea erythree eritreja
ES spain spanien espagne espana ispanija kingdom_of_spain
ET ethiopia athiopien aethiopien ethiopie etiopia etiopija
FI finland finnland finlande finlandia suomija
FJ fiji fidschi fidji fiyi fidzis
FK falkland_islands falklandinseln iles_malouines islas_malvinas folklando_salos
FM micronesia mikronesien micronesie mikronezija micronesia_federated_states_of federated_states_of_micronesia
FO faroe_islands faroer faeroeer iles_feroe islas_feroe fareru_salos
FR france frankreich francia prancuzija french_republic republique_francaise
GA gabon gabun gabonas
GB united_kingdom vereinigtes_konigreich vereinigtes_koenigreich royaume_uni reino_unido jungtine_karalyste
   great_britain grossbritannien gran_bretana grande_bretagne didzioji_britanija
   united_kingdom_of_great_britain_northern_ireland england scotland wales northern_ireland schottland inglaterra
   angleterre anglija
GD grenada grenade granada
GE georgia georgien georgie gruzija
GF french_guiana franzosisch_guayana franzoesisch_guayana guyane_francaise guayana_francesa prancuzijos_gviana
GG guernsey guernesey gernsis
GH ghana gana
GI gibraltar gibraltaras
GL greenland gronland groenland groenlandia grenlandija
GM gambia gambie gambija
GN guinea guinee gvineja
GP guadeloupe guadalupe gvadelupa
GQ equatorial_guinea aquatorialguinea aequatorialguinea guinee_equatoriale guinea_ecuatorial pusiaujo_gvineja
GR greece griechenland grece grecia graikija hellas hellenic_republic
GS south_georgia_south_sandwich_islands sudgeorgien_sudlichen_sandwichinseln suedgeorgien_suedlichen_sandwichinseln
   georgie_du_sud_iles_sandwich_du_sud islas_georgia_del_sur_sandwich_del_sur pietu_dzordzija_pietu_sandvico_salos
GT guatemala gvatemala
GU guam guamas
GW guinea_bissau guinee_bissau guinea_bisau bisau_gvineja
GY guyana gajana
HK hong_kong_sar_china sonderverwaltungsregion_hongkong r_a_s_chinoise_de_hong_kong rae_de_hong_kong_china
   rae_de_hong_kong ypatingasis_administracinis_kinijos_regionas_honkongas hong_kong hongkong honkongas
HM heard_island_mcdonald_islands heard_mcdonaldinseln iles_heard_macdonald islas_heard_mcdonald herdo_makdonaldo_salos
HN honduras
HR croatia kroatien croatie croacia kroatija
HT haiti haitis
HU hungary ungarn hongrie hungria vengrija
ID indonesia indonesien indonesie indonezija
IE ireland irland irlande irlanda airija republic_of_ireland republik_irland eire
IL israel izraelis
IM isle_of_man ile_de_man isla_de_man meno_sala
IN india indien inde indija
IO british_indian_ocean_territory britisches_territorium_im_indischen_ozean territoire_britannique_de_l_ocean_indien
   territorio_britanico_del_oceano_indico indijos_vandenyno_britu_sritis
IQ iraq irak irakas
IR iran iranas islamic_republic_of_iran iran_islamic_republic_of
IS iceland island islande islandia islandija
IT italy italien italie italia italija
JE jersey dzersis
JM jamaica jamaika jamaique
JO jordan jordanien jordanie jordania jordanija
JP japan japon japonija
KE kenya kenia kenija
KG kyrgyzstan kirgisistan kirghizstan kirguistan kirgizija kirgisien
KH cambodia kambodscha cambodge camboya kambodza
KI kiribati kiribatis
KM comoros komoren comores comoras komorai
KN st_kitts_nevis saint_kitts_nevis saint_christophe_nieves san_cristobal_nieves sent_kitsas_nevis
KP north_korea nordkorea coree_du_nord corea_del_norte siaures_koreja korea_democratic_people_s_republic_of
   democratic_people_s_republic_of_korea
KR south_korea sudkorea suedkorea coree_du_sud corea_del_sur pietu_koreja republic_of_korea korea_republic_of
   republik_korea republica_de_corea republique_de_coree
KW kuwait koweit kuveitas
KY cayman_islands kaimaninseln iles_caimans islas_caiman kaimanu_salos
KZ kazakhstan kasachstan kazajistan kazachstanas
LA laos laosas lao_people_s_democratic_republic
LB lebanon libanon liban libano libanas
LC st_lucia saint_lucia sainte_lucie santa_lucia sent_lusija
LI liechtenstein lichtensteinas
LK sri_lanka
LR liberia liberija
LS lesotho lesoto lesotas
LT lithuania litauen lituanie lituania lietuva republic_of_lithuania lietuvos_respublika
LU luxembourg luxemburg luxemburgo liuksemburgas
LV latvia lettland lettonie letonia latvija
LY libya libyen libye libia libija libyan_arab_jamahiriya
MA morocco marokko maroc marruecos marokas
MC monaco monakas
MD moldova republik_moldau moldavie moldavia republic_of_moldova moldova_republic_of moldawien republique_de_moldavie
ME montenegro juodkalnija
MF st_martin saint_martin san_martin sen_martenas
MG madagascar madagaskar madagaskaras
MH marshall_islands marshallinseln iles_marshall islas_marshall marsalo_salos
MK north_macedonia nordmazedonien macedoine_du_nord macedonia_del_norte siaures_makedonija macedonia mazedonien
   macedoine makedonija republic_of_north_macedonia
ML mali malis
MM myanmar_burma myanmar myanmar_birmanie myanmar_birmania mianmaras_birma mianmaras burma birma birmania birmanie
MN mongolia mongolei mongolie mongolija
MO macao_sar_china sonderverwaltungsregion_macau r_a_s_chinoise_de_macao rae_de_macao_china rae_de_macao
   ypatingasis_administracinis_kinijos_regionas_makao macao macau makao
MP northern_mariana_islands nordliche_marianen noerdliche_marianen iles_mariannes_du_nord islas_marianas_del_norte
   marianos_siaurines_salos
MQ martinique martinica martinika
MR mauritania mauretanien mauritanie mauritanija
MS montserrat montseratas
MT malta malte
MU mauritius maurice mauricio mauricijus
MV maldives malediven maldivas maldyvai
MW malawi malaui malavis
MX mexico mexiko mexique meksika
MY malaysia malaisie malasia malaizija
MZ mozambique mosambik mozambikas
NA namibia namibie namibija
NC new_caledonia neukaledonien nouvelle_caledonie nueva_caledonia naujoji_kaledonija
NE niger nigeris
NF norfolk_island norfolkinsel ile_norfolk isla_norfolk norfolko_sala
NG nigeria nigerija
NI nicaragua nikaragva
NL netherlands niederlande pays_bas paises_bajos nyderlandai holland holanda hollande olandija kingdom_of_netherlands
NO norway norwegen norvege noruega norvegija
NP nepal nepalas
NR nauru
NU niue niuje
NZ new_zealand neuseeland nouvelle_zelande nueva_zelanda naujoji_zelandija
OM oman omanas
PA panama
PE peru perou
PF french_polynesia franzosisch_polynesien franzoesisch_polynesien polynesie_francaise polinesia_francesa
   prancuzijos_polinezija
PG papua_new_guinea papua_neuguinea papouasie_nouvelle_guinee papua_nueva_guinea papua_naujoji_gvineja
PH philippines philippinen filipinas filipinai
PK pakistan pakistanas
PL poland polen pologne polonia lenkija
PM st_pierre_miquelon saint_pierre_miquelon san_pedro_miquelon sen_pjeras_mikelonas
PN pitcairn_islands pitcairninseln iles_pitcairn islas_pitcairn pitkerno_salos
PR puerto_rico porto_rico puerto_rikas
PS palestinian_territories palastinensische_autonomiegebiete palaestinensische_autonomiegebiete
   territoires_palestiniens territorios_palestinos palestinos_teritorija palestine palastina palaestina palestina
   palestine_state_of state_of_palestine
PT portugal portugalija
PW palau palaos
PY paraguay paragvajus
QA qatar katar catar kataras
RE reunion reunjonas
RO romania rumanien rumaenien roumanie rumania rumunija
RS serbia serbien serbie serbija
RU russia russland russie rusia rusija russian_federation russische_foderation russische_foederation
   federacion_de_rusia federacion_rusa federation_de_russie rusijos_federacija
RW rwanda ruanda
SA saudi_arabia saudi_arabien arabie_saoudite arabia_saudi saudo_arabija
SB solomon_islands salomonen iles_salomon islas_salomon saliamono_salos
SC seychelles seychellen seiseliai
SD sudan soudan sudanas
SE sweden schweden suede suecia svedija
SG singapore singapur singapour singapuras
SH st_helena_ascension_tristan_da_cunha saint_helena_ascension_tristan_da_cunha st_helena sainte_helene santa_elena
   sv_elenos_sala saint_helena
SI slovenia slowenien slovenie eslovenia slovenija
SJ svalbard_jan_mayen spitzbergen_jan_mayen svalbardas_janas_majenas
SK slovakia slowakei slovaquie eslovaquia slovakija slovak_republic slowakische_republik
SL sierra_leone sierra_leona siera_leone
SM san_marino saint_marin san_marinas
SN senegal senegalas
SO somalia somalie somalis
SR suriname surinam surinamas
SS south_sudan sudsudan suedsudan soudan_du_sud sudan_del_sur pietu_sudanas
ST sao_tome_principe santo_tome_principe san_tome_prinsipe
SV salvador salvadoras
SX sint_maarten saint_martin_partie_neerlandaise sint_martenas
SY syria syrien syrie siria sirija syrian_arab_republic
SZ eswatini esuatini svazilandas swaziland swasiland suazilandia
TC turks_caicos_islands turks_caicosinseln iles_turques_caiques islas_turcas_caicos terkso_kaikoso_salos
TD chad tschad tchad cadas
TF french_southern_antarctic_lands franzosische_sud_antarktisgebiete franzoesische_sued_antarktisgebiete
   terres_australes_francaises territorios_australes_franceses prancuzijos_pietu_sritys
TG togo togas
TH thailand thailande tailandia tailandas
TJ tajikistan tadschikistan tadjikistan tayikistan tadzikija
TK tokelau
TL timor_leste timor_oriental rytu_timoras east_timor osttimor
TM turkmenistan turkmenistanas
TN tunisia tunesien tunisie tunez tunisas
TO tonga
TR turkiye turkei tuerkei turquie turquia turkija turkey tuerkiye
TT trinidad_tobago trinite_tobago trinidadas_tobagas trinidad
TV tuvalu
TW taiwan taivanas taiwan_province_of_china chinese_taipei
TZ tanzania tansania tanzanie tanzanija united_republic_of_tanzania tanzania_united_republic_of
UA ukraine ucrania ukraina
UG uganda ouganda
UM u_s_outlying_islands amerikanische_uberseeinseln amerikanische_ueberseeinseln
   iles_mineures_eloignees_des_etats_unis islas_menores_alejadas_de_ee_uu jungtiniu_valstiju_mazosios_tolimosios_salos
US united_states vereinigte_staaten etats_unis estados_unidos jungtines_valstijos united_states_of_america
   vereinigte_staaten_von_amerika estados_unidos_de_america etats_unis_d_amerique u_s_a u_s ee_uu
UY uruguay urugvajus
UZ uzbekistan usbekistan ouzbekistan uzbekistanas
VA vatican_city vatikanstadt etat_de_cite_du_vatican ciudad_del_vaticano vatikano_miesto_valstybe vatican vatikan
   vaticano vatikanas holy_see heiliger_stuhl santa_sede saint_siege
VC st_vincent_grenadines saint_vincent_grenadines st_vincent_grenadinen san_vicente_granadinas
   sventasis_vincentas_grenadinai
VE venezuela venesuela venezuela_bolivarian_republic_of bolivarian_republic_of_venezuela
VG british_virgin_islands britische_jungferninseln iles_vierges_britanniques islas_virgenes_britanicas
   didziosios_britanijos_mergeliu_salos virgin_islands_british
VI u_s_virgin_islands amerikanische_jungferninseln iles_vierges_des_etats_unis islas_virgenes_de_ee_uu
   jungtiniu_valstiju_mergeliu_salos virgin_islands_u_s us_virgin_islands
VN vietnam viet_nam vietnamas
VU vanuatu
WF wallis_futuna volisas_futuna
WS samoa
XK kosovo kosovas
YE yemen jemen jemenas
YT mayotte majotas
ZA south_africa sudafrika suedafrika afrique_du_sud sudafrica pietu_afrika republic_of_south_africa rsa
ZM zambia sambia zambie zambija
ZW zimbabwe simbabwe zimbabue zimbabve
"""
_LONGEST = 80  # characters; no name is as long
_FILLERS = frozenset(["and", "the", "und", "der", "die", "y", "el", "la", "las", "los", "et", "le", "les", "ir"])


def _compared(name: str) -> str:
    words = re.findall("[a-z0-9]+", without_accents(name))
    return "_".join(word for word in words if word not in _FILLERS)


def _read(table: str) -> dict[str, str]:
    found, code = {}, ""
    for word in table.split():
        if word.isupper():
            code = word
        else:
            found[word] = code
    return found


_CODE_OF = _read(NAMES)


def code_of(name: str) -> str | None:
    """The alpha-2 code of the country of this name; None: no language has such a name."""
    return _CODE_OF.get(_compared(name)) if len(name) <= _LONGEST else None
